/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * To the agent: what the program has just found out and the Southbound is to know.
 * Nothing waits for it; an agent that was not there finds what was learnt in the maps,
 * and so does one that a source would tell more than its share (see punt.h).
 */
#ifndef OVN_BPF_NEWS_H
#define OVN_BPF_NEWS_H

#include "punt.h"

/* mac: the word where the address begins; of OVN_NEWS_VPORT the virtual port. */
static __noinline void news(struct __sk_buff *skb, struct scratch *s, __u32 kind, __u32 port,
			    __u32 mac)
{
	struct ovn_news *n = &s->buf.news;
	struct ovn_ctl *ctl = control();
	const __u32 *w = s->cur.w;

	if (!punt_allowed(s, OVN_PACE_PUNT)) {
		if (ctl)
			ctl->missed++;
		return;
	}
	__builtin_memset(n, 0, sizeof(*n));
	n->at = bpf_ktime_get_ns();
	n->kind = kind;
	n->group = w[OW_ETH_DST] >> 8 & 1;
	n->dp = w[OW_DP];
	n->port = port;
	if (kind == OVN_NEWS_MAC) {
		n->ip[0] = w[OW_ARG_IP];
		n->ip[1] = w[OW_ARG_IP + 1];
		n->ip[2] = w[OW_ARG_IP + 2];
		n->ip[3] = w[OW_ARG_IP + 3];
	}
	if (kind == OVN_NEWS_VPORT) {
		n->vport = mac;
	} else {
		n->mac[0] = w[mac & (OVN_WORDS - 1)];
		n->mac[1] = w[(mac + 1) & (OVN_WORDS - 1)];
	}
	bpf_perf_event_output(skb, &ovn_news, BPF_F_CURRENT_CPU, n, sizeof(*n));
}

/* Does what a guest sends wake its port, which has moved with it?  As ovn-controller's
 * physical.c, but that the addresses are not compared. */
static __noinline int wakes(const struct scratch *s, __u32 flags)
{
	const __u32 *w = s->cur.w;
	__u32 type = w[OW_ETH_TYPE] >> 16;

	if (type == ETH_P_RARP)
		return flags & OVN_PORT_F_RARP;
	if (type == ETH_P_ARP && w[OW_IP_SRC + 3] == w[OW_IP_DST + 3])
		return flags & OVN_PORT_F_GARP;
	if (type == ETH_P_IPV6 && w[OW_IP] >> 24 == 58 && w[OW_L4_PORTS] == 136 << 16)
		return flags & OVN_PORT_F_NA;
	return 0;
}

#endif
