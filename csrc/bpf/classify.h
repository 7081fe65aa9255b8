/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Which rule of a stage matches: tuple-space search.  One hash look-up for
 * each mask of the stage, best priority first, until no mask left can beat the
 * best rule found.
 */
#ifndef OVN_BPF_CLASSIFY_H
#define OVN_BPF_CLASSIFY_H

#include "sets.h"

struct best {
	__u32 depth;
	__u32 stage;
	__u32 first;
	__u32 found;
	__u32 prio;
	__u32 pc;
	__u32 flow;
	__u32 probes;
	__u32 mask; /* the one whose sets are tried */
	__u32 over; /* a bound was hit: no answer can be trusted */
};

static __always_inline int same_key(const __u32 *a, const __u32 *b, __u32 n)
{
	__u32 i, d = 0;

	for (i = 0; i < n; i++)
		d |= a[i] ^ b[i];
	return !d;
}

/* One probe in class X: the slot of the version that counts, or 0.  The hash
 * may answer with the slot of another key while the agent writes: the slot
 * repeats the key, so that is seen, and asked once more. */
#define DEFINE_PROBE(x, words)                                                                  \
	__noinline __u32 probe_##x(__u32 depth, __u32 stage, __u32 mask)                        \
	{                                                                                       \
		struct scratch *s = scratch_at(depth);                                          \
		const struct ovn_mask *m = array_at(&ovn_masks, mask);                          \
		struct ovn_key_##x *key;                                                        \
		struct ovn_rule_##x *r;                                                         \
		__u32 i, try, hop, *slot, at;                                                   \
                                                                                                \
		if (!s || !m)                                                                   \
			return 0;                                                               \
		key = &s->buf.x;                                                                \
		key->stage = stage;                                                             \
		key->mask = mask;                                                               \
		for (i = 0; i < words; i++)                                                     \
			key->w[i] = s->cur.w[m->word[i] & (OVN_WORDS - 1)] & m->mask[i];        \
		for (try = 0; try < OVN_SLOT_TRIES; try++) {                                    \
			slot = bpf_map_lookup_elem(&ovn_idx_##x, key);                          \
			if (!slot)                                                              \
				return 0;                                                       \
			at = *slot;                                                             \
			for (hop = 0; hop < OVN_MAX_VERSIONS; hop++) {                          \
				r = array_at(&ovn_rules_##x, at);                               \
				if (!r || !same_key((__u32 *)&r->key, (__u32 *)key, words + 2)) \
					break;                                                  \
				if (alive(&r->rule.slot, s->generation))                        \
					return at;                                              \
				at = r->rule.slot.next;                                         \
				if (!at)                                                        \
					return 0;                                               \
			}                                                                       \
		}                                                                               \
		return 0;                                                                       \
	}

DEFINE_PROBE(s, OVN_CLASS_S)
DEFINE_PROBE(m, OVN_CLASS_M)
DEFINE_PROBE(l, OVN_CLASS_L)

static __always_inline void consider(struct best *b, const struct ovn_rule *r)
{
	if (!r || (b->found && r->prio <= b->prio))
		return;
	b->found = 1;
	b->prio = r->prio;
	b->pc = r->pc;
	b->flow = r->flow;
}

/* One key under a mask. */
static __always_inline void probe(struct best *b, __u32 mask, __u32 key_class)
{
	__u32 slot;

	b->probes++;
	if (key_class == 0) {
		slot = probe_s(b->depth, b->stage, mask);
		if (slot)
			consider(b, array_at(&ovn_rules_s, slot));
	} else if (key_class == 1) {
		slot = probe_m(b->depth, b->stage, mask);
		if (slot)
			consider(b, array_at(&ovn_rules_m, slot));
	} else {
		slot = probe_l(b->depth, b->stage, mask);
		if (slot)
			consider(b, array_at(&ovn_rules_l, slot));
	}
}

/* The i-th combination of sets that the packet is in, as a key. */
static long try_sets(__u32 i, struct best *b)
{
	const struct ovn_mask *m = array_at(&ovn_masks, b->mask);
	struct scratch *s = scratch_at(b->depth);
	__u32 dim, n, at;

	if (!s || !m)
		return 1;
	for (dim = 0; dim < OVN_SET_WORDS; dim++) {
		if (!(m->sets & 1 << dim))
			continue;
		n = s->sets[dim].n;
		if (!n)
			return 1;
		at = i % n;
		s->cur.w[OW_TMP + dim] = s->sets[dim].ids[at & (OVN_MAX_SETS - 1)];
		i /= n;
	}
	probe(b, b->mask, m->key_class);
	return 0;
}

/* A mask with set words: all combinations of what the packet is a member of. */
static __always_inline void probe_sets(struct best *b, __u32 mask, const struct ovn_mask *m)
{
	struct scratch *s = scratch_at(b->depth);
	__u32 dim, combos = 1;

	if (!s)
		return;
	for (dim = 0; dim < OVN_SET_WORDS; dim++) {
		if (!(m->sets & 1 << dim))
			continue;
		combos *= find_sets(b->depth, dim);
		if (!combos)
			return;
		if (s->sets[dim].over || combos > OVN_MAX_COMBOS) {
			b->over = 1;
			return;
		}
	}
	b->mask = mask;
	bpf_loop(combos, try_sets, b, 0);
}

static long try_tuple(__u32 i, struct best *b)
{
	const struct ovn_tuple *t = array_at(&ovn_tuples, b->first + i);
	const struct scratch *s = scratch_at(b->depth);
	const struct ovn_mask *m;

	if (!s || !t || (b->found && t->max_prio <= b->prio))
		return 1;
	if ((s->cur.w[t->word & (OVN_WORDS - 1)] & t->bits) != t->value)
		return 0;
	m = array_at(&ovn_masks, t->mask);
	if (!m)
		return 1;
	if (m->sets)
		probe_sets(b, t->mask, m);
	else
		probe(b, t->mask, m->key_class);
	return b->over != 0;
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
__noinline __u32 classify(__u32 depth, __u32 table)
{
	struct scratch *s = scratch_at(depth);
	const struct ovn_stage_ver *v = NULL;
	struct best b = { .depth = depth };
	__u32 i, n;

	if (!s)
		return 0;
	for (i = 0; i < OVN_MAX_SKIPS; i++) {
		b.stage = s->cur.dp_index * OVN_STAGES_PER_DP + (table & (OVN_STAGES_PER_DP - 1));
		v = stage_version(s, b.stage);
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
	b.first = v->first;
	n = v->n_tuples;
	if (n > OVN_MAX_TUPLES)
		n = OVN_MAX_TUPLES;
	if (n)
		bpf_loop(n, try_tuple, &b, 0);
	if (v->default_rule) {
		const struct ovn_rule_s *r = array_at(&ovn_rules_s, v->default_rule);

		if (r)
			consider(&b, &r->rule);
	}
	s->probes += b.probes;
	s->sets_over = b.over;
	if (b.over)
		return 0;
	s->flow = b.flow;
	s->prio = b.prio;
	return b.pc;
}

#endif
