/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Which rule of a stage matches: tuple-space search.  One hash look-up for
 * each mask of the stage, best priority first, until no mask left can beat the
 * best rule found.
 */
#ifndef OVN_BPF_CLASSIFY_H
#define OVN_BPF_CLASSIFY_H

#include "sets.h"

static __always_inline int same_key(const __u64 *a, const __u64 *b, __u32 n)
{
	__u64 d = 0;
	__u32 i;

	for (i = 0; i < n; i++)
		d |= a[i] ^ b[i];
	return !d;
}

static __always_inline void consider(struct best *b, const struct ovn_rule *r)
{
	if (b->found && r->prio <= b->prio)
		return;
	b->found = 1;
	b->prio = r->prio;
	b->pc = r->pc;
	b->flow = r->flow;
}

/* One probe in class X: considers the version that counts, if there is one.  The
 * hash may answer with the slot of another key while the agent writes: the slot
 * repeats the key, so that is seen, and asked once more. */
#define DEFINE_PROBE(x, words)                                                                 \
	__noinline int probe_##x(const struct scratch *given, const struct ovn_mask *m,        \
				 __u32 mask)                                                   \
	{                                                                                      \
		struct scratch *s = own(given);                                                \
		struct ovn_key_##x *key;                                                       \
		struct ovn_rule_##x *r;                                                        \
		struct ovn_ref *ref;                                                           \
		__u32 i, try, hop, at;                                                         \
                                                                                               \
		if (!s || !m)                                                                  \
			return 0;                                                              \
		key = &s->buf.x;                                                               \
		key->stage = s->best.stage;                                                    \
		key->mask = mask;                                                              \
		for (i = 0; i < words; i++)                                                    \
			key->w[i] = s->cur.w[m->word[i] & (OVN_WORDS - 1)] & m->mask[i];       \
		ROLLED                                                                         \
		for (try = 0; try < OVN_SLOT_TRIES; try++) {                                   \
			ref = bpf_map_lookup_elem(&ovn_idx_##x, key);                          \
			if (!ref)                                                              \
				return 0;                                                      \
			at = ref->slot;                                                        \
			ROLLED                                                                 \
			for (hop = 0; hop < OVN_MAX_VERSIONS; hop++) {                         \
				r = array_at(&ovn_rules_##x, at);                              \
				if (!r ||                                                      \
				    !same_key((void *)&r->key, (void *)key, sizeof(*key) / 8)) \
					break;                                                 \
				if (alive(&r->rule.slot, s->generation)) {                     \
					consider(&s->best, &r->rule);                          \
					return 0;                                              \
				}                                                              \
				at = r->rule.slot.next;                                        \
				if (!at)                                                       \
					return 0;                                              \
			}                                                                      \
		}                                                                              \
		return 0;                                                                      \
	}

DEFINE_PROBE(s, OVN_CLASS_S)
DEFINE_PROBE(m, OVN_CLASS_M)
DEFINE_PROBE(l, OVN_CLASS_L)

/* One key under a mask. */
static __always_inline void probe(struct scratch *s, const struct ovn_mask *m, __u32 mask)
{
	s->probes++;
	if (m->key_class == 0)
		probe_s(s, m, mask);
	else if (m->key_class == 1)
		probe_m(s, m, mask);
	else
		probe_l(s, m, mask);
}

/* The i-th combination of sets that the packet is in, as a key. */
static long try_sets(__u32 i, struct scratch **walk)
{
	struct scratch *s = *walk;
	const struct ovn_mask *m = array_at(&ovn_masks, s->best.mask);
	const struct memberships *in;
	__u32 k, at;

	if (!m)
		return 1;
	for (k = 0; k < OVN_MASK_SETS; k++) {
		if (k >= m->n_sets)
			break;
		in = &s->sets[m->set[k] & (OVN_SET_WORDS - 1)];
		if (!in->n)
			return 1;
		at = i % in->n;
		s->cur.w[OW_TMP + k] = in->ids[at & (OVN_MAX_SETS - 1)];
		i /= in->n;
	}
	probe(s, m, s->best.mask);
	return 0;
}

/* A mask with set words: all combinations of what the packet is a member of. */
static __always_inline void probe_sets(struct scratch *s, __u32 mask, const struct ovn_mask *m)
{
	__u32 k, dim, combos = 1;

	for (k = 0; k < OVN_MASK_SETS; k++) {
		if (k >= m->n_sets)
			break;
		dim = m->set[k] & (OVN_SET_WORDS - 1);
		combos *= find_sets(s, dim);
		if (!combos)
			return;
		if (s->sets[dim].over || combos > OVN_MAX_COMBOS) {
			s->best.over = 1;
			return;
		}
	}
	s->best.mask = mask;
	bpf_loop(combos, try_sets, &s, 0);
}

static long try_tuple(__u32 i, struct scratch **walk)
{
	struct scratch *s = *walk;
	const struct ovn_tuple *t = array_at(&ovn_tuples, s->best.first + i);
	const struct ovn_mask *m;

	if (!t || (s->best.found && t->max_prio <= s->best.prio))
		return 1;
	if ((s->cur.w[t->word & (OVN_WORDS - 1)] & t->bits) != t->value)
		return 0;
	m = array_at(&ovn_masks, t->mask);
	if (!m)
		return 1;
	if (m->n_sets)
		probe_sets(s, t->mask, m);
	else
		probe(s, m, t->mask);
	return s->best.over != 0;
}

static __always_inline const struct ovn_stage_ver *stage_version(const struct scratch *s,
								 __u32 stage)
{
	const struct ovn_stage *st = array_at(&ovn_stages, stage);
	__u32 a, b;

	if (!st)
		return NULL;
	a = st->v[0].born;
	b = st->v[1].born;
	if (a > s->generation)
		a = 0;
	if (b > s->generation)
		b = 0;
	if (!a && !b)
		return NULL;
	return a > b ? &st->v[0] : &st->v[1];
}

/*
 * classify - the actions of the best rule for the context in a table
 *
 * table: 0..127 within the context's datapath.  Returns the first instruction,
 * or 0 when nothing matches; s->flow says whose it is.  s->sets_over: nothing
 * can be said, since the packet is a member of too many sets.
 */
__noinline __u32 classify(struct scratch *s, __u32 table)
{
	const struct ovn_stage_ver *v = NULL;
	const struct ovn_rule_s *r;
	__u32 i, n, stage = 0;
	struct best *b;

	if (!s)
		return 0;
	for (i = 0; i < OVN_MAX_SKIPS; i++) {
		stage = s->cur.dp_index * OVN_STAGES_PER_DP + (table & (OVN_STAGES_PER_DP - 1));
		v = stage_version(s, stage);
		if (!v)
			break;
		if (!v->skip_to)
			break;
		table = v->skip_to;
	}
	s->flow = 0;
	s->prio = 0;
	s->sets_over = 0;
	s->table = table;
	if (!v)
		return 0;
	s->stages++;
	b = &s->best;
	b->stage = stage;
	b->first = v->first;
	b->found = 0;
	b->pc = 0;
	b->flow = 0;
	b->prio = 0;
	b->over = 0;
	n = v->n_tuples;
	if (n > OVN_MAX_TUPLES)
		n = OVN_MAX_TUPLES;
	if (n)
		bpf_loop(n, try_tuple, &s, 0);
	if (v->default_rule) {
		r = array_at(&ovn_rules_s, v->default_rule);
		if (r)
			consider(b, &r->rule);
	}
	s->sets_over = b->over;
	if (b->over)
		return 0;
	s->flow = b->flow;
	s->prio = b->prio;
	return b->pc;
}

#endif
