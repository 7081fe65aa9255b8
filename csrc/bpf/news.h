/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * To the agent: what the program has just learnt, which the Southbound is to know.
 * Nothing waits for it; an agent that was not there finds all of it in the maps.
 */
#ifndef OVN_BPF_NEWS_H
#define OVN_BPF_NEWS_H

#include "scratch.h"

/* kind: of struct ovn_news.  mac: the word where the address begins, or 0. */
static __noinline void news(struct __sk_buff *skb, struct scratch *s, __u32 kind, __u32 port,
			    __u32 mac)
{
	struct ovn_news *n = &s->buf.news;
	const __u32 *w = s->cur.w;

	__builtin_memset(n, 0, sizeof(*n));
	n->at = bpf_ktime_get_ns();
	n->kind = kind;
	n->group = w[OW_ETH_DST] >> 8 & 1;
	n->dp = w[OW_DP];
	n->port = port;
	if (kind == OP_MAC_PUT) {
		n->ip[0] = w[OW_ARG_IP];
		n->ip[1] = w[OW_ARG_IP + 1];
		n->ip[2] = w[OW_ARG_IP + 2];
		n->ip[3] = w[OW_ARG_IP + 3];
	}
	n->mac[0] = w[mac & (OVN_WORDS - 1)];
	n->mac[1] = w[(mac + 1) & (OVN_WORDS - 1)];
	bpf_perf_event_output(skb, &ovn_news, BPF_F_CURRENT_CPU, n, sizeof(*n));
}

#endif
