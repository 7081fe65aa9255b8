/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The one place where a packet, or a copy of it, ends without being sent.
 * Ends this branch of the work only; what is on the stack goes on.
 */
#ifndef OVN_BPF_DROP_H
#define OVN_BPF_DROP_H

#include "trace.h"

static __always_inline void count(void *map, __u32 index, __u32 len)
{
	struct ovn_count *c = array_at(map, index);

	if (c) {
		c->packets++;
		c->bytes += len;
	}
}

static __always_inline void drop(struct __sk_buff *skb, __u32 reason)
{
	count(&ovn_drops, reason < DROP_MAX ? reason : DROP_BUG, skb->len);
}

/* The same for a packet on its walk. */
static __always_inline void drop_branch(struct __sk_buff *skb, const struct scratch *s, __u32 depth,
					__u32 reason)
{
	if (s->trace)
		trace_event(depth, TRACE_DROP, reason, 0);
	else
		drop(skb, reason);
}

#endif
