/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * For `ovn-bpf-ctl monitor` and `capture`: who watches is told of packets, with the
 * frame.  While nobody does it costs a look at one word of scratch memory.
 */
#ifndef OVN_BPF_WITNESS_FN_H
#define OVN_BPF_WITNESS_FN_H

#include "scratch.h"

#define WITNESS_ENOENT 2

/* What is watched; one element. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ovn_watch);
	__uint(map_flags, BPF_F_MMAPABLE);
} ovn_watch SEC(".maps");
/* To the watcher: struct ovn_witness and the frame. */
struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} ovn_witness SEC(".maps");

/* What somebody wants to see of packets on this CPU: enum ovn_seen. */
static __always_inline __u32 watched(void)
{
	const struct ovn_watch *watch = array_at(&ovn_watch, 0);

	return watch ? watch->seen : 0;
}

/*
 * witness - a packet comes, leaves or is dropped
 *
 * A watcher that died is gone from the map: then nobody is told any more.
 */
__noinline int witness(struct __sk_buff *skb, struct scratch *s, __u32 seen, __u32 a)
{
	struct ovn_watch *watch = array_at(&ovn_watch, 0);
	struct ovn_witness *e;
	__u64 flags;

	if (!s || !watch || !(watch->seen & seen))
		return 0;
	if (watch->dp && watch->dp != s->cur.w[OW_DP])
		return 0;
	if (watch->port && watch->port != s->cur.w[OW_INPORT] &&
	    watch->port != s->cur.w[OW_OUTPORT])
		return 0;
	e = &s->buf.witness;
	e->at = bpf_ktime_get_ns();
	e->seen = seen;
	e->a = a;
	e->dp = s->cur.w[OW_DP];
	e->inport = s->cur.w[OW_INPORT];
	e->outport = s->cur.w[OW_OUTPORT];
	e->flow = s->cur.flow;
	e->table = s->cur.table;
	e->len = skb->len;
	e->off = s->off;
	e->taken = skb->len < watch->snap ? skb->len : watch->snap;
	flags = BPF_F_CURRENT_CPU | (__u64)e->taken << 32;
	if (bpf_perf_event_output(skb, &ovn_witness, flags, e, sizeof(*e)) == -WITNESS_ENOENT)
		watch->seen = 0;
	return 0;
}

#endif
