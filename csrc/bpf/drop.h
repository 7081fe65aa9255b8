/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The one place where a packet, or a copy of it, ends without being sent.
 * Ends this branch of the work only; what is on the stack goes on.
 */
#ifndef OVN_BPF_DROP_H
#define OVN_BPF_DROP_H

#include "trace.h"
#include "witness.h"

static __always_inline void count(void *map, __u32 index, __u32 len)
{
	struct ovn_count *c = array_at(map, index);

	if (c) {
		c->packets++;
		c->bytes += len;
	}
}

/* Flows with numbers for which there is no room are not counted. */
static __always_inline void count_flow(__u32 flow, __u32 len)
{
	struct ovn_flow_page *page = array_at(&ovn_flows, flow / OVN_FLOW_PAGE);

	if (page) {
		struct ovn_count *c = &page->c[flow & (OVN_FLOW_PAGE - 1)];

		c->packets++;
		c->bytes += len;
	}
}

/* Not inlined, as the kernel pays for each look-up that it writes out. */
__noinline int count_drop(__u32 reason, __u32 len)
{
	count(&ovn_drops, reason < DROP_MAX ? reason : DROP_BUG, len);
	return 0;
}

static __always_inline void drop(struct __sk_buff *skb, __u32 reason)
{
	count_drop(reason, skb->len);
}

/* Which flow it was.  A leaf of its own: see OVN_MAX_STACK_BYTES. */
__noinline int drop_of_flow(struct scratch *s, __u32 reason, __u32 len)
{
	struct ovn_drop_key key = { .reason = reason };
	struct ovn_count first = { .packets = 1, .bytes = len }, *c;

	if (!s)
		return 0;
	key.dp = s->cur.w[OW_DP];
	key.flow = s->cur.flow;
	key.table = s->cur.table;
	c = bpf_map_lookup_elem(&ovn_drop_flows, &key);
	if (c) {
		c->packets++;
		c->bytes += len;
	} else { /* busy: only ovn_drops has it */
		bpf_map_update_elem(&ovn_drop_flows, &key, &first, BPF_NOEXIST);
	}
	return 0;
}

/* The same for a packet on its walk. */
static __always_inline void drop_branch(struct __sk_buff *skb, struct scratch *s, __u32 reason)
{
	if (s->trace) {
		trace_event(s, TRACE_DROP, reason, 0);
		return;
	}
	drop(skb, reason);
	drop_of_flow(s, reason, skb->len);
	if (s->watched)
		witness(skb, s, OVN_SEEN_DROP, reason);
}

#endif
