/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Neighbours that the program learnt by itself (put_arp, put_nd), for get_arp,
 * get_nd and their look-ups.  What the Southbound knows are rules of the side
 * tables OVN_TABLE_MAC_BINDING and _LOOKUP, which end in these instructions.
 */
#ifndef OVN_BPF_NEIGHBOUR_H
#define OVN_BPF_NEIGHBOUR_H

#include "scratch.h"

#define ARP_REPLY 2

static __noinline void neighbour_put(const __u32 *w, const struct ovn_mac_key *key)
{
	struct ovn_mac e = { .key = *key };

	e.mac[0] = w[OW_ARG_MAC];
	e.mac[1] = w[OW_ARG_MAC + 1];
	e.seen = bpf_ktime_get_boot_ns() / 1000000000;
	/* Busy: not learnt, so the next packet brings it. */
	bpf_map_update_elem(&ovn_macs, key, &e, BPF_ANY);
}

/* OP_MAC_USE: an ARP reply, or a packet, from the binding's addresses.  See
 * ovn-controller's neighbor-of.c. */
static __noinline void neighbour_used(const struct scratch *s)
{
	struct ovn_mac_key key = { .dp = s->cur.w[OW_DP], .port = s->cur.w[OW_INPORT] };
	const __u32 *w = s->cur.w;
	__u32 i, type = w[OW_ETH_TYPE] >> 16, now;
	struct ovn_mac *e;

	if (s->trace || (type == ETH_P_ARP && w[OW_TCP_ARP] >> 16 != ARP_REPLY))
		return;
	for (i = 0; i < 4; i++)
		key.ip[i] = w[OW_IP_SRC + i];
	if (type != ETH_P_IPV6)
		key.ip[2] = 0xffff;
	e = bpf_map_lookup_elem(&ovn_mac_used, &key);
	if (!e || e->mac[0] != w[OW_ETH_SRC] || e->mac[1] != w[OW_ETH_SRC + 1])
		return;
	now = bpf_ktime_get_boot_ns() / 1000000000;
	if (e->seen != now)
		e->seen = now;
}

/* OP_MAC_GET, OP_MAC_IS and OP_MAC_PUT: see insns.h. */
static __noinline void neighbour(struct scratch *s, __u32 op)
{
	__u32 *w = s->cur.w, i, d, mac[2];
	struct ovn_mac_key key = { .dp = w[OW_DP], .port = w[OW_ARG_PORT] };
	const struct ovn_mac *e;

	for (i = 0; i < 4; i++)
		key.ip[i] = w[OW_ARG_IP + i];
	if (op == OP_MAC_PUT) {
		if (!s->trace)
			neighbour_put(w, &key);
		return;
	}
	e = bpf_map_lookup_elem(&ovn_macs, &key);
	if (!e)
		return;
	mac[0] = e->mac[0];
	mac[1] = e->mac[1];
	/* The element's memory may belong to another key by now. */
	d = (e->key.dp ^ key.dp) | (e->key.port ^ key.port);
	for (i = 0; i < 4; i++)
		d |= e->key.ip[i] ^ key.ip[i];
	if (d)
		return;
	if (op == OP_MAC_GET) {
		w[OW_ARG_MAC] = mac[0];
		w[OW_ARG_MAC + 1] = mac[1];
	} else if (mac[0] != w[OW_ARG_MAC] || mac[1] != w[OW_ARG_MAC + 1]) {
		return;
	}
	w[OW_RESULT] |= OVN_RES_FOUND;
}

#endif
