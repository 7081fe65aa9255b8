/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * TCP resets in answer to the frame in hand (RFC 9293, section 3.5.2): all of the
 * frame but its headers goes.  Called by store() and by nobody else.
 */
#ifndef OVN_BPF_RESET_H
#define OVN_BPF_RESET_H

#include "icmp.h"

#define TCP_LEN 20
#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

/* Take the numbers out of the segment and cut the frame to size. */
static __always_inline int make_reset(struct __sk_buff *skb, struct scratch *s)
{
	int ip6 = s->wire[OW_ETH_TYPE - OW_HEADERS] >> 16 == ETH_P_IPV6;
	__u32 hlen = ETH_LEN + (ip6 ? IP6_LEN : IP4_LEN), l4_len, flags;
	__u8 tcp[14] HEADER;

	l4_len = ip_len(skb, s) - (s->l4 - s->l3);
	if (s->off || s->l3 != ETH_LEN || bpf_skb_load_bytes(skb, s->l4, tcp, sizeof(tcp)))
		return DROP_STORE;
	flags = tcp[13];
	s->reply_seq = 0;
	s->reply_ack = 0;
	if (flags & TCP_ACK)
		s->reply_seq = get32(tcp + 8);
	else
		s->reply_ack = get32(tcp + 4) + l4_len - (tcp[12] >> 4) * 4 + !!(flags & TCP_SYN) +
			       !!(flags & TCP_FIN);
	/* The device will sum what follows the old header: it must be the new one. */
	s->reply_sum = partial_sum(skb, s, l4_len) ? 1 : 0;
	if (s->reply_sum && s->l4 != hlen)
		return DROP_NO_REPLY;
	return cut(skb, s, hlen + TCP_LEN) ? DROP_STORE : 0;
}

/* Ethernet and IP header as the words have them, in front of len bytes at f + ETH_LEN
 * and IP4_LEN or IP6_LEN. */
static __always_inline void put_ip(const __u32 *w, __u8 *f, __u32 proto, __u32 len)
{
	__u8 *ip = f + ETH_LEN;
	__u32 i;

	put_mac(f, w + OW_ETH_DST);
	put_mac(f + 6, w + OW_ETH_SRC);
	put16(f + 12, w[OW_ETH_TYPE] >> 16);
	if (w[OW_ETH_TYPE] >> 16 == ETH_P_IPV6) {
		put32(ip, 6u << 28 | (w[OW_IP] & 0xff00) << 12 | (w[OW_IP6_LABEL] & 0xfffff));
		put16(ip + 4, len);
		ip[6] = proto;
		ip[7] = w[OW_IP] >> 16;
		for (i = 0; i < 4; i++) {
			put32(ip + 8 + 4 * i, w[OW_IP_SRC + i]);
			put32(ip + 24 + 4 * i, w[OW_IP_DST + i]);
		}
		return;
	}
	ip[0] = 0x45;
	ip[1] = w[OW_IP] >> 8;
	put16(ip + 2, IP4_LEN + len);
	put16(ip + 6, 0x4000);
	ip[8] = w[OW_IP] >> 16;
	ip[9] = proto;
	put32(ip + 12, w[OW_IP_SRC + 3]);
	put32(ip + 16, w[OW_IP_DST + 3]);
	*(__u16 *)(ip + 10) = csum_fold(bpf_csum_diff(NULL, 0, (__be32 *)ip, IP4_LEN, 0));
}

/* The words as the whole frame. */
static __always_inline int put_reset(struct __sk_buff *skb, struct scratch *s)
{
	const __u32 *w = s->cur.w;
	__u8 *f = s->buf.bytes + 2, *ip = f + ETH_LEN, *tcp;
	int ip6 = w[OW_ETH_TYPE] >> 16 == ETH_P_IPV6;
	__u32 sum;

	__builtin_memset(f, 0, ETH_LEN + IP6_LEN + TCP_LEN);
	put_ip(w, f, PROTO_TCP, TCP_LEN);
	if (ip6)
		sum = bpf_csum_diff(NULL, 0, (__be32 *)(ip + 8), 32, 0);
	else
		sum = bpf_csum_diff(NULL, 0, (__be32 *)(ip + 12), 8, 0);
	sum = (__u16)~csum_fold(sum);
	sum += bpf_htons(TCP_LEN) + bpf_htons(PROTO_TCP);
	tcp = ip + (ip6 ? IP6_LEN : IP4_LEN);
	put32(tcp, w[OW_L4_PORTS]);
	put32(tcp + 4, s->reply_seq);
	put32(tcp + 8, s->reply_ack);
	put16(tcp + 12, TCP_LEN / 4 << 12 | (w[OW_TCP_ARP] & 0xfff));
	if (s->reply_sum) { /* the device sums: the pseudo header is our part */
		sum = (__u16)~csum_fold(sum);
	} else if (ip6) {
		sum = csum_fold(bpf_csum_diff(NULL, 0, (__be32 *)(ip + IP6_LEN), TCP_LEN, sum));
	} else {
		sum = csum_fold(bpf_csum_diff(NULL, 0, (__be32 *)(ip + IP4_LEN), TCP_LEN, sum));
	}
	if (ip6)
		*(__u16 *)(ip + IP6_LEN + 16) = sum;
	else
		*(__u16 *)(ip + IP4_LEN + 16) = sum;
	s->l4 = ETH_LEN + (ip6 ? IP6_LEN : IP4_LEN);
	if (bpf_skb_store_bytes(skb, s->off, f, ETH_LEN, 0) ||
	    (ip6 ? bpf_skb_store_bytes(skb, s->off + ETH_LEN, ip, IP6_LEN + TCP_LEN,
				       BPF_F_RECOMPUTE_CSUM)
		 : bpf_skb_store_bytes(skb, s->off + ETH_LEN, ip, IP4_LEN + TCP_LEN,
				       BPF_F_RECOMPUTE_CSUM)))
		return DROP_STORE;
	return 0;
}

#endif
