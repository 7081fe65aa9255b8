/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * To the slow path: a packet whose flow asks for more than this program does.  It
 * leaves with its whole context, and comes back through ovn_resume (ovn.bpf.c).
 *
 * A perf event array carries it, since that copies the frame as it is, and since
 * it forgets a reader that has died: packets are then dropped at once, counted,
 * and not queued for a successor that they are too old for.
 */
#ifndef OVN_BPF_PUNT_H
#define OVN_BPF_PUNT_H

#include "meter.h"
#include "store.h"

#define PUNT_COST (NSEC_PER_SEC / OVN_PUNT_RATE)
#define LOG_COST (NSEC_PER_SEC / OVN_LOG_RATE)
#define BFD_COST (NSEC_PER_SEC / OVN_BFD_RATE)
#define ENOENT 2

/* Is the source within its rate of this kind?  A token bucket; two CPUs at once may let
 * one more pass. */
static __noinline int punt_allowed(const struct scratch *s, __u32 kind)
{
	struct ovn_punt_source key = { .ifindex = s->in_ifindex, .kind = kind };
	__u64 cost = kind == OVN_PACE_LOG ? LOG_COST : kind == OVN_PACE_BFD ? BFD_COST : PUNT_COST;
	__u64 depth = cost * (kind == OVN_PACE_LOG   ? OVN_LOG_BURST
			      : kind == OVN_PACE_BFD ? OVN_BFD_BURST
						     : OVN_PUNT_BURST);
	struct ovn_punt_bucket first = { .spare = depth - cost }, *b;
	__u64 now = bpf_ktime_get_ns(), spare;

	if (!key.ifindex) {
		key.dp = s->cur.w[OW_DP];
		key.port = s->cur.w[OW_INPORT];
	}
	b = bpf_map_lookup_elem(&ovn_punt_rate, &key);
	if (!b) {
		first.at = now;
		/* Busy or full: allowed, and counted from the next one on. */
		bpf_map_update_elem(&ovn_punt_rate, &key, &first, BPF_NOEXIST);
		return 1;
	}
	spare = b->spare + (now - b->at);
	if (spare > depth)
		spare = depth;
	b->at = now;
	if (spare < cost) {
		b->spare = spare;
		return 0;
	}
	b->spare = spare - cost;
	return 1;
}

/* Is it worth asking ovn_serve?  The frame becomes the answer, so it must be one that can
 * be kept if others need it as it is. */
static __always_inline int may_serve(struct __sk_buff *skb, const struct scratch *s, __u32 verb)
{
	return (verb == OVN_PUNT_DHCP || verb == OVN_PUNT_RA || verb == OVN_PUNT_DNS) &&
	       (!others_need(s) || skb->len <= OVN_ORIG_BYTES) && !s->off && !s->cur.reply &&
	       !s->frag && !skb->gso_size && !(s->cur.w[OW_ETH_TYPE] & VLAN_PRESENT);
}

enum { PUNT_SERVE = -1 };

/*
 * punt - the OP_PUNT at pc
 *
 * served: ovn_serve was asked.  Returns 0, a drop reason, or PUNT_SERVE: ask it.
 */
__noinline int punt(struct __sk_buff *skb, struct scratch *s, __u32 pc, __u32 served)
{
	const struct ovn_insn *in = insn_at(pc);
	struct ovn_punt *p;
	int err, ask;
	__u64 flags;

	if (!s || !in)
		return DROP_BUG;
	ask = !served && may_serve(skb, s, in->a);
	if (!ask) {
		if (skb->gso_size || skb->len - s->off > OVN_MAX_PUNT)
			return DROP_PUNT_BIG;
		if (!punt_allowed(s, in->a == OVN_PUNT_BFD ? OVN_PACE_BFD : OVN_PACE_PUNT))
			return DROP_PUNT_RATE;
	}
	err = store(skb, s);
	if (err)
		return err;
	if (ask) {
		s->serve.pc = pc;
		return PUNT_SERVE;
	}
	p = &s->buf.punt;
	p->at = bpf_ktime_get_ns();
	p->verb = in->a;
	p->arg = in->b;
	p->mark = in->c;
	p->pc = pc;
	p->egress = s->cur.egress;
	p->table = s->cur.table;
	p->flow = s->cur.flow;
	p->queue = s->cur.queue;
	p->ifindex = s->in_ifindex;
	p->off = s->off;
	p->len = skb->len;
	p->answer = 0;
	__builtin_memcpy(p->w, s->cur.w, sizeof(p->w));
	flags = BPF_F_CURRENT_CPU | (__u64)skb->len << 32;
	err = bpf_perf_event_output(skb, &ovn_punts, flags, p, sizeof(*p));
	return !err ? 0 : err == -ENOENT ? DROP_NO_SLOWPATH : DROP_PUNT_FULL;
}

#endif
