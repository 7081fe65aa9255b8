/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * For tc on the ingress of a BFD peer.  A router's flows count the packets of its own
 * sessions as hops, OVN's controller or ours, and RFC 5881 wants none; real daemons
 * drop what has crossed one.  So this one is taken back.
 */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define ETH_LEN 14
#define IP4_TTL (ETH_LEN + 8)
#define IP4_SUM (ETH_LEN + 10)
#define IP6_HOPS (ETH_LEN + 7)

SEC("tc")
int one_hop(struct __sk_buff *skb)
{
	__u8 old, all = 255;

	if (skb->protocol == bpf_htons(0x0800)) {
		if (bpf_skb_load_bytes(skb, IP4_TTL, &old, 1) || old != 254)
			return -1;
		bpf_l3_csum_replace(skb, IP4_SUM, bpf_htons(254 << 8), bpf_htons(255 << 8), 2);
		bpf_skb_store_bytes(skb, IP4_TTL, &all, 1, 0);
	} else if (skb->protocol == bpf_htons(0x86dd)) {
		if (bpf_skb_load_bytes(skb, IP6_HOPS, &old, 1) || old != 254)
			return -1;
		bpf_skb_store_bytes(skb, IP6_HOPS, &all, 1, 0);
	}
	return -1; /* TC_ACT_UNSPEC */
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
