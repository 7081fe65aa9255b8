/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Which sets the packet's addresses, MACs and ports are members of.  classify() asks
 * when a mask looks at a set word; the answer holds until the field changes.
 */
#ifndef OVN_BPF_SETS_H
#define OVN_BPF_SETS_H

#include "packet.h"
#include "scratch.h"

static __always_inline int alive(const struct ovn_slot *slot, __u32 generation)
{
	return slot->born && slot->born <= generation && generation < slot->dead;
}

/* Take the ids of one slot over.  Returns the slot to go on with, or 0. */
static __always_inline __u32 take_ids(struct memberships *m, const struct ovn_set_list *l)
{
	__u32 i, at;

	for (i = 0; i < OVN_SET_IDS; i++) {
		if (i >= l->n)
			break;
		at = m->n;
		if (at >= OVN_MAX_SETS) {
			m->over = 1;
			return 0;
		}
		m->ids[at & (OVN_MAX_SETS - 1)] = l->ids[i];
		m->n = at + 1;
	}
	return l->more;
}

/*
 * list_of - the first slot of the list of s->member, or 0
 *
 * As with rules, a slot of another key is one that the agent is writing, and asked for
 * once more.
 */
__noinline __u32 list_of(const struct scratch *given)
{
	const struct scratch *s = own(given);
	const struct ovn_set_key *key;
	const struct ovn_set_list *l;
	struct ovn_ref *ref;
	__u32 at, hop, try;

	if (!s)
		return 0;
	key = &s->member;
	ROLLED
	for (try = 0; try < OVN_SLOT_TRIES; try++) {
		ref = bpf_map_lookup_elem(&ovn_set_idx, key);
		if (!ref)
			return 0;
		at = ref->slot;
		ROLLED
		for (hop = 0; hop < OVN_MAX_VERSIONS; hop++) {
			l = array_at(&ovn_sets, at);
			if (!l || l->key.kind != key->kind || l->key.plen != key->plen ||
			    l->key.v[0] != key->v[0] || l->key.v[1] != key->v[1] ||
			    l->key.v[2] != key->v[2] || l->key.v[3] != key->v[3])
				break;
			if (alive(&l->slot, s->generation))
				return at;
			at = l->slot.next;
			if (!at)
				return 0;
		}
	}
	return 0;
}

struct list_walk {
	struct memberships *m;
	__u32 at;
};

/* One slot more of a long list; a callback, so that the verifier sees it once. */
static long more_ids(__u32 i __attribute__((unused)), struct list_walk *walk)
{
	const struct ovn_set_list *l = array_at(&ovn_sets, walk->at);

	walk->at = l ? take_ids(walk->m, l) : 0;
	return !walk->at;
}

/* Add the sets that have exactly s->member. */
static __always_inline void add_sets(const struct scratch *s, struct memberships *m)
{
	struct list_walk walk = { .m = m, .at = list_of(s) };

	if (!walk.at)
		return;
	if (more_ids(0, &walk))
		return;
	bpf_loop(OVN_MAX_SET_SLOTS - 1, more_ids, &walk, 0);
	if (walk.at)
		m->over = 1;
}

static __always_inline __u32 prefix_word(__u32 v, __u32 plen, __u32 word)
{
	__u32 bits = plen > word * 32 ? plen - word * 32 : 0;

	return bits >= 32 ? v : bits ? v & ~(~0u >> bits) : 0;
}

struct set_walk {
	struct scratch *s;
	__u32 dim;
};

static long try_plen(__u32 i, struct set_walk *walk)
{
	struct scratch *s = walk->s;
	struct ovn_set_key *key = &s->member;
	const struct ovn_set_plens *plens;
	struct memberships *m;
	__u32 j;

	m = &s->sets[walk->dim & (OVN_SET_WORDS - 1)];
	plens = array_at(&ovn_set_plens, m->kind);
	if (!plens || i >= OVN_SET_PLENS)
		return 1;
	key->kind = m->kind;
	key->plen = plens->plen[i];
	for (j = 0; j < 4; j++) /* those behind a shorter value are 0 */
		key->v[j] = prefix_word(m->v[j], key->plen, j);
	add_sets(s, m);
	return 0;
}

/* What the field of a dimension is now: kind and value; kind 0 when it has none.  Even
 * dimensions are of sources, odd ones of destinations. */
static __always_inline __u32 set_value(const struct scratch *s, __u32 dim, __u32 *v)
{
	__u32 type = s->cur.w[OW_ETH_TYPE] >> 16, dst = dim & 1, word = OW_SETS + dim, at, i;

	v[1] = v[2] = v[3] = 0;
	if (word >= OW_SET_ETH_SRC) { /* 16 bits and 32 */
		at = dst ? OW_ETH_DST : OW_ETH_SRC;
		v[0] = s->cur.w[at] << 16 | s->cur.w[at + 1] >> 16;
		v[1] = s->cur.w[at + 1] << 16;
		return OVN_SET_MAC;
	}
	if (word >= OW_SET_TP_SRC) {
		v[0] = dst ? s->cur.w[OW_L4_PORTS] << 16 : s->cur.w[OW_L4_PORTS] & 0xffff0000;
		return OVN_SET_L4;
	}
	if (word >= OW_SET_IN) {
		v[0] = s->cur.w[OW_DP];
		v[1] = s->cur.w[dst ? OW_OUTPORT : OW_INPORT];
		return OVN_SET_PORT;
	}
	at = dst ? OW_IP_DST : OW_IP_SRC;
	if (type == ETH_P_IP || type == ETH_P_ARP) {
		v[0] = s->cur.w[at + 3];
		return OVN_SET_IP4;
	}
	if (type != ETH_P_IPV6)
		return 0;
	for (i = 0; i < 4; i++)
		v[i] = s->cur.w[at + i];
	return OVN_SET_IP6;
}

/*
 * find_sets - look up what a dimension (word - OW_SETS) is a member of
 *
 * Returns how many sets; s->sets[dim] has their numbers.
 */
__noinline __u32 find_sets(struct scratch *s, __u32 dim)
{
	struct set_walk walk = { .s = s, .dim = dim };
	const struct ovn_set_plens *plens;
	struct memberships *m;
	__u32 v[4], kind;

	if (!s)
		return 0;
	m = &s->sets[dim & (OVN_SET_WORDS - 1)];
	kind = set_value(s, dim, v);
	if (kind == m->kind && v[0] == m->v[0] && v[1] == m->v[1] && v[2] == m->v[2] &&
	    v[3] == m->v[3])
		return m->n;
	m->n = 0;
	m->over = 0;
	m->kind = kind;
	__builtin_memcpy(m->v, v, sizeof(v));
	if (kind == OVN_SET_PORT) {
		s->member.kind = kind;
		s->member.plen = 0;
		__builtin_memcpy(s->member.v, v, sizeof(v));
		add_sets(s, m);
	} else if (kind) {
		plens = array_at(&ovn_set_plens, kind);
		if (plens)
			bpf_loop(plens->n, try_plen, &walk, 0);
	}
	return m->n;
}

#endif
