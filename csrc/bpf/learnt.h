/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What action lists have the program remember (OP_LEARN) and ask about later
 * (OP_LEARNT): answers of hairpinned connections, affinity of clients to backends,
 * next hops of ECMP routes.  In OVS these are flows that learn() makes; here they
 * are elements of one LRU map, so that nothing has to clean up.
 */
#ifndef OVN_BPF_LEARNT_H
#define OVN_BPF_LEARNT_H

#include "data.h"

#define NSEC 1000000000ull

/* Seconds after its last packet, and after it was learnt: OVN's lib/actions.c. */
#define ECMP_IDLE 20
#define ECMP_HARD 30

/* What was learnt. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct ovn_learnt_key);
	__type(value, struct ovn_learnt);
} ovn_learnt SEC(".maps");

/* A key for the packet itself: its addresses, ports and protocol. */
static __always_inline struct ovn_learnt *learnt_begin(struct scratch *s, __u32 kind)
{
	struct ovn_learnt *e = &s->buf.learnt;
	const __u32 *w = s->cur.w;

	__builtin_memset(e, 0, sizeof(*e));
	e->key.kind = kind;
	e->key.dp = w[OW_DP];
	e->key.eth_type = w[OW_ETH_TYPE] >> 16;
	e->key.proto = w[OW_IP] >> 24;
	e->key.ports = w[OW_L4_PORTS];
	copy4(e->key.src, w + OW_IP_SRC);
	copy4(e->key.dst, w + OW_IP_DST);
	return e;
}

static __always_inline void learnt_put(struct ovn_learnt *e)
{
	e->born = bpf_ktime_get_boot_ns();
	e->seen = e->born;
	/* Busy: not learnt, so the next packet brings it. */
	bpf_map_update_elem(&ovn_learnt, &e->key, e, BPF_ANY);
}

/*
 * learn - the OP_LEARN at pc
 */
__noinline int learn(const struct scratch *given, __u32 pc)
{
	struct scratch *s = own(given);
	const struct ovn_insn *in = insn_at(pc);
	struct ovn_learnt *e;
	__u32 n, ports;

	if (!s || !in || s->trace)
		return 0;
	n = in->c;
	e = learnt_begin(s, in->a);
	switch (in->a) {
	case OVN_LEARNT_HAIRPIN:
		e->key.ports = in->b ? e->key.ports << 16 : 0;
		data_at(pc + 1, n, e->key.dst);
		break;
	case OVN_LEARNT_LB_AFF:
		n /= 2;
		e->key.proto = in->dst;
		e->key.ports = data_at(pc + 1, n, e->key.dst);
		if (!in->dst)
			e->key.ports = 0;
		e->port = data_at(pc + 1 + n, n, e->ip);
		e->idle = in->b;
		break;
	case OVN_LEARNT_ECMP_NH:
		e->key.kind = OVN_LEARNT_ECMP_NH_MAC;
		e->key.eth_src[0] = s->cur.w[OW_ETH_SRC];
		e->key.eth_src[1] = s->cur.w[OW_ETH_SRC + 1];
		e->idle = ECMP_IDLE;
		e->hard = ECMP_HARD;
		learnt_put(e);
		e->key.kind = OVN_LEARNT_ECMP_NH;
		e->key.eth_src[0] = 0;
		e->key.eth_src[1] = 0;
		copy4(e->key.src, s->cur.w + OW_IP_DST);
		copy4(e->key.dst, s->cur.w + OW_IP_SRC);
		ports = e->key.ports;
		e->key.ports = ports << 16 | ports >> 16;
		break;
	default:
		return 0;
	}
	learnt_put(e);
	return 0;
}

static __always_inline int same_learnt(const struct ovn_learnt_key *a,
				       const struct ovn_learnt_key *b)
{
	__u32 i, d = (a->kind ^ b->kind) | (a->dp ^ b->dp) | (a->ports ^ b->ports) |
		     (a->eth_type ^ b->eth_type) | (a->proto ^ b->proto);

	for (i = 0; i < 4; i++)
		d |= (a->src[i] ^ b->src[i]) | (a->dst[i] ^ b->dst[i]);
	return !(d | (a->eth_src[0] ^ b->eth_src[0]) | (a->eth_src[1] ^ b->eth_src[1]));
}

/* Is buf.learnt's key remembered?  Its answer goes to the rest of that. */
__noinline int learnt_get(const struct scratch *given)
{
	struct scratch *s = own(given);
	__u64 now = bpf_ktime_get_boot_ns();
	struct ovn_learnt *found, *e;

	if (!s)
		return 0;
	e = &s->buf.learnt;
	found = bpf_map_lookup_elem(&ovn_learnt, &e->key);
	if (!found)
		return 0;
	copy4(e->ip, found->ip);
	e->port = found->port;
	e->idle = found->idle;
	e->hard = found->hard;
	e->seen = found->seen;
	e->born = found->born;
	/* The element's memory may belong to another key by now. */
	asm volatile("" ::: "memory");
	if (!same_learnt(&found->key, &e->key))
		return 0;
	if (e->idle && now > e->seen + e->idle * NSEC)
		return 0;
	if (e->hard && now > e->born + e->hard * NSEC)
		return 0;
	if (!s->trace && now > e->seen + NSEC / 4)
		found->seen = now;
	return 1;
}

/*
 * learnt - is what the OP_LEARNT at pc asks about remembered?
 *
 * Returns 1 if so, and puts the answer where the instruction says.
 */
__noinline int learnt(struct scratch *s, __u32 pc)
{
	const struct ovn_insn *in = insn_at(pc);
	struct ovn_learnt *e;
	__u32 *w, i;

	if (!s || !in)
		return 0;
	w = s->cur.w;
	e = learnt_begin(s, in->b);
	switch (in->b) {
	case OVN_LEARNT_HAIRPIN:
		e->key.ports &= 0xffff0000;
		if (in->c && learnt_get(s))
			return 1;
		e->key.ports = 0;
		return learnt_get(s);
	case OVN_LEARNT_LB_AFF:
		e->key.ports &= 0xffff;
		i = learnt_get(s);
		if (!i) {
			e->key.proto = 0;
			e->key.ports = 0;
			i = learnt_get(s);
		}
		w[OW_ARG_IP] = i ? e->ip[0] : 0;
		w[OW_ARG_IP + 1] = i ? e->ip[1] : 0;
		w[OW_ARG_IP + 2] = i ? e->ip[2] : 0;
		w[OW_ARG_IP + 3] = i ? e->ip[3] : 0;
		w[OW_ARG_PORT] = i ? e->port : 0;
		w[OW_ARG_IDLE] = i ? e->idle : 0;
		return i;
	case OVN_LEARNT_ECMP_NH_MAC:
		e->key.eth_src[0] = w[OW_ETH_SRC];
		e->key.eth_src[1] = w[OW_ETH_SRC + 1];
		return learnt_get(s);
	case OVN_LEARNT_ECMP_NH:
		return learnt_get(s);
	}
	return 0;
}

#endif
