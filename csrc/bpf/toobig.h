/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A packet does not fit the tunnel: tell its sender (RFC 1191, RFC 4443 section
 * 3.2).  The frame itself is turned into the error, so this is only for a frame
 * that nobody else needs, from a port of ours; the source address is the one
 * the packet was for, as there is no router on a logical switch.
 */
#ifndef OVN_BPF_TOOBIG_H
#define OVN_BPF_TOOBIG_H

#include "packet.h"
#include "scratch.h"

#define QUOTE_CHUNK 112
#define QUOTE4 (4 * QUOTE_CHUNK)  /* 476 bytes in all; RFC 1812: at most 576 */
#define QUOTE6 (11 * QUOTE_CHUNK) /* 1280 bytes in all: the minimum MTU */

/* Sum of `len` bytes of the frame from `off`; a multiple of QUOTE_CHUNK. */
static __always_inline __s64 frame_sum(struct __sk_buff *skb, struct scratch *s, __u32 off,
				       __u32 len, __u32 sum)
{
	__u32 i;

	for (i = 0; i < QUOTE6 / QUOTE_CHUNK; i++) {
		if (i * QUOTE_CHUNK >= len)
			break;
		if (bpf_skb_load_bytes(skb, off + i * QUOTE_CHUNK, s->buf.bytes, QUOTE_CHUNK))
			return -1;
		sum = bpf_csum_diff(NULL, 0, (__be32 *)s->buf.bytes, QUOTE_CHUNK, sum);
	}
	return sum;
}

/*
 * A local sender may have left its transport checksum to the device: then the
 * field holds the sum of the pseudo header only, and the kernel will fill it in
 * within our quotation, after we summed it.  What the quotation's transport
 * part sums to then is known all the same: minus the pseudo header's sum.
 * Returns that, folded, or 0 when the checksum is complete.
 */
static __always_inline __u32 partial_sum(struct __sk_buff *skb, const struct scratch *s)
{
	__u32 proto = s->wire[OW_IP - OW_HEADERS] >> 24, l4_len = skb->len - s->l4, sum, i;
	__u32 at = proto == PROTO_TCP ? 16 : proto == PROTO_UDP ? 6 : 0;
	__be32 a[8];
	__u16 field;

	if (!s->l4 || !at || bpf_skb_load_bytes(skb, s->l4 + at, &field, 2))
		return 0;
	for (i = 0; i < 8; i++)
		a[i] = bpf_htonl(s->wire[OW_IP_SRC - OW_HEADERS + i]);
	sum = bpf_csum_diff(NULL, 0, a, sizeof(a), bpf_htons(proto));
	if (skb->gso_size) /* always waits for the device */
		return (__u16)~field ?: 0xffff;
	sum += bpf_htons(l4_len & 0xffff);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)sum == field ? (__u16)~field ?: 0xffff : 0;
}

/*
 * Sum of the quotation as the receiver will see it.  Everything up to l4 is
 * summed as it is; the rest too, unless the device fills it in.
 */
static __always_inline __s64 quote_sum(struct __sk_buff *skb, struct scratch *s, __u32 len)
{
	__u32 partial = partial_sum(skb, s), hdr = s->l4 - s->l3, i;
	__s64 sum;

	if (!partial)
		return frame_sum(skb, s, s->l3, len, 0);
	sum = partial;
	for (i = 0; i < 20; i++) { /* IP header in words: 5..15, or 10 */
		__be32 word;

		if (i * 4 >= hdr)
			break;
		if (bpf_skb_load_bytes(skb, s->l3 + i * 4, &word, 4))
			return -1;
		sum = bpf_csum_diff(NULL, 0, &word, 4, sum);
	}
	return i < 20 ? sum : -1;
}

/*
 * too_big - turn the frame into ICMP "fragmentation needed" or "too big"
 *
 * mtu: largest network-layer packet that would fit, in bytes.  Returns 0, or
 * -1 when no error may or can be sent (the frame is then to be dropped).
 */
__noinline int too_big(struct __sk_buff *skb, __u32 depth, __u32 mtu)
{
	struct scratch *s = scratch_at(depth);
	__u8 *h, macs[12];
	__u32 type, quote, hlen, i, proto, src_top;
	const __u32 *w;
	__s64 sum;
	int ip6;

	if (!s || !s->in_ifindex || s->off || s->wire_na)
		return -1;
	w = s->wire;
	type = w[OW_ETH_TYPE - OW_HEADERS] >> 16;
	proto = w[OW_IP - OW_HEADERS] >> 24;
	ip6 = type == ETH_P_IPV6;
	if (type != ETH_P_IP && !ip6)
		return -1;
	src_top = ip6 ? w[OW_IP_SRC - OW_HEADERS] >> 24 : w[OW_IP_SRC + 3 - OW_HEADERS] >> 28;
	/* Never for a multicast sender or frame, a later fragment or an error. */
	if ((ip6 && src_top == 0xff) || (!ip6 && src_top >= 14) ||
	    w[OW_ETH_DST - OW_HEADERS] & 0x100 || w[OW_IP - OW_HEADERS] & OVN_FRAG_LATER)
		return -1;
	i = w[OW_L4_PORTS - OW_HEADERS] >> 16;
	if ((proto == PROTO_ICMP && i != 0 && i != 8) || (proto == PROTO_ICMP6 && i < 128))
		return -1;
	quote = ip6 ? QUOTE6 : QUOTE4;
	hlen = ip6 ? IP6_LEN + 8 : IP4_LEN + 8;
	if (skb->len < s->l3 + quote || s->l3 != ETH_LEN)
		return -1;
	sum = quote_sum(skb, s, quote);
	if (sum < 0)
		return -1;
	if (bpf_skb_change_tail(skb, ETH_LEN + quote, 0) ||
	    bpf_skb_adjust_room(skb, hlen, BPF_ADJ_ROOM_MAC, 0))
		return -1;
	h = s->buf.bytes;
	__builtin_memset(h, 0, IP6_LEN + 8);
	if (ip6) {
		put32(h, 6u << 28);
		put16(h + 4, quote + 8);
		h[6] = PROTO_ICMP6;
		h[7] = 64;
		for (i = 0; i < 4; i++) {
			put32(h + 8 + 4 * i, w[OW_IP_DST - OW_HEADERS + i]);
			put32(h + 24 + 4 * i, w[OW_IP_SRC - OW_HEADERS + i]);
		}
		h[40] = 2; /* packet too big */
		put32(h + 44, mtu);
		/* Addresses and message lie side by side; then the rest of the
		 * pseudo header. */
		sum = bpf_csum_diff(NULL, 0, (__be32 *)(h + 8), 40, sum);
		sum = (__u16)~csum_fold(sum);
		sum += bpf_htons(quote + 8) + bpf_htons(PROTO_ICMP6);
		*(__u16 *)(h + 42) = csum_fold(sum);
	} else {
		h[0] = 0x45;
		put16(h + 2, IP4_LEN + 8 + quote);
		h[8] = 64;
		h[9] = PROTO_ICMP;
		put32(h + 12, w[OW_IP_DST + 3 - OW_HEADERS]);
		put32(h + 16, w[OW_IP_SRC + 3 - OW_HEADERS]);
		*(__u16 *)(h + 10) = csum_fold(bpf_csum_diff(NULL, 0, (__be32 *)h, IP4_LEN, 0));
		h[20] = 3; /* unreachable: */
		h[21] = 4; /* fragmentation needed */
		put16(h + 26, mtu);
		*(__u16 *)(h + 22) = csum_fold(bpf_csum_diff(NULL, 0, (__be32 *)(h + 20), 8, sum));
	}
	put_mac(macs, w + OW_ETH_SRC - OW_HEADERS);
	put_mac(macs + 6, w + OW_ETH_DST - OW_HEADERS);
	if (bpf_skb_store_bytes(skb, 0, macs, 12, 0))
		return -1;
	if (ip6 ? bpf_skb_store_bytes(skb, ETH_LEN, h, IP6_LEN + 8, 0)
		: bpf_skb_store_bytes(skb, ETH_LEN, h, IP4_LEN + 8, 0))
		return -1;
	return 0;
}

#endif
