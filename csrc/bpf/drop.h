/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The one place where a packet, or a copy of it, ends without being sent.
 * Ends this branch of the work only; what is on the stack goes on.
 */
#ifndef OVN_BPF_DROP_H
#define OVN_BPF_DROP_H

#include "maps.h"

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

#endif
