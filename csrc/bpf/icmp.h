/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * ICMP errors about the frame in hand (RFC 792, 1122 section 3.2.2, 4443): the
 * frame is cut to what is quoted and moved behind a new header, which follows
 * from the words.  Called by store() and by nobody else.
 */
#ifndef OVN_BPF_ICMP_H
#define OVN_BPF_ICMP_H

#include "inner.h"

#define SUM_CHUNK OVN_SUM_BYTES
#define BLANK_CHUNKS 3 /* of OVN_SUM_BYTES: an Ethernet frame and a tag */
#define QUOTE4 548     /* 576 bytes in all: RFC 1812 section 4.3.2.3 */
#define QUOTE6 1232    /* 1280 bytes in all: the minimum MTU */

/* Bytes of the IP packet in the frame; Ethernet's padding is none of it. */
static __always_inline __u32 ip_len(struct __sk_buff *skb, const struct scratch *s)
{
	__u32 room = skb->len - s->off - s->l3, at = s->off + s->l3, len, ip6;
	__be16 field;

	ip6 = s->wire[OW_ETH_TYPE - OW_HEADERS] >> 16 == ETH_P_IPV6;
	if (bpf_skb_load_bytes(skb, at + (ip6 ? 4 : 2), &field, 2) || !field)
		return room;
	len = bpf_ntohs(field) + (ip6 ? IP6_LEN : 0);
	return len < room ? len : room;
}

/* frame_sum - `sum` and `len` bytes of the frame from `off`, QUOTE6 at most; -1: not there */
__noinline __s64 frame_sum(struct __sk_buff *skb, struct scratch *s, __u32 off, __u32 len,
			   __u32 sum)
{
	__u32 i, n;

	if (!s)
		return -1;
	ROLLED
	for (i = 0; i < (QUOTE6 + SUM_CHUNK - 1) / SUM_CHUNK; i++) {
		if (i * SUM_CHUNK >= len)
			break;
		n = len - i * SUM_CHUNK < SUM_CHUNK ? len - i * SUM_CHUNK : SUM_CHUNK;
		n--;
		hide(n);
		n &= SUM_CHUNK - 1;
		s->buf.words[n / 4] = 0; /* what is behind the last byte */
		if (bpf_skb_load_bytes(skb, off + i * SUM_CHUNK, s->buf.bytes, n + 1))
			return -1;
		sum = bpf_csum_diff(NULL, 0, s->buf.words, (n & ~3u) + 4, sum);
	}
	return sum;
}

/*
 * partial_sum - what a checksum that a device will fill in will make of a quotation
 *
 * A local sender may have left its transport checksum to the device: then the
 * field holds the sum of the pseudo header only, and the kernel will fill it in
 * within our quotation, after we summed it.  What the quotation's transport
 * part sums to then is known all the same: minus the pseudo header's sum.
 * Returns that, folded, or 0 when the checksum is complete.
 */
__noinline __u32 partial_sum(struct __sk_buff *skb, const struct scratch *s, __u32 l4_len)
{
	__u32 proto, at, sum, i;
	__be32 a[8];
	__u16 field;

	if (!s)
		return 0;
	proto = s->wire[OW_IP - OW_HEADERS] >> 24;
	at = proto == PROTO_TCP ? 16 : proto == PROTO_UDP ? 6 : 0;
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
static __always_inline __s64 quote_sum(struct __sk_buff *skb, struct scratch *s, __u32 quote,
				       __u32 len)
{
	__u32 hdr = s->l4 - s->l3, partial = partial_sum(skb, s, len - hdr);

	s->reply_part = partial != 0;
	return frame_sum(skb, s, s->l3, partial ? hdr : quote, partial);
}

/* Zeros from `from` to the frame's end.  Returns 0, or -1 when that is too far. */
static __always_inline int blank(struct __sk_buff *skb, const struct scratch *s, __u32 from)
{
	__u32 i, n;

	ROLLED
	for (i = 0; i < BLANK_CHUNKS && from < skb->len; i++) {
		n = skb->len - from < OVN_SUM_BYTES ? skb->len - from : OVN_SUM_BYTES;
		n--;
		hide(n);
		n = (n & (OVN_SUM_BYTES - 1)) + 1;
		if (bpf_skb_store_bytes(skb, from, s->zeros, n, BPF_F_RECOMPUTE_CSUM))
			return -1;
		from += n;
	}
	return from < skb->len ? -1 : 0;
}

/*
 * cut - cut the frame to a length
 *
 * The kernel cuts nothing off what was put into a tunnel
 * and never came by a network card (chassis on two ends of a veth pair): there zeros
 * follow the packet, as they follow a short one in an Ethernet frame.
 */
__noinline int cut(struct __sk_buff *skb, const struct scratch *s, __u32 len)
{
	if (!s)
		return -1;
	if (skb->len == len || !bpf_skb_change_tail(skb, len, 0))
		return 0;
	return skb->gso_size || skb->len < len || blank(skb, s, len);
}

/* Cut the frame to the quotation and open room in front of it. */
static __always_inline int make_error(struct __sk_buff *skb, struct scratch *s)
{
	int ip6 = s->wire[OW_ETH_TYPE - OW_HEADERS] >> 16 == ETH_P_IPV6;
	__u32 most = ip6 ? QUOTE6 : QUOTE4, len = ip_len(skb, s), quote = len < most ? len : most;
	__s64 sum;

	if (s->off || s->l3 != ETH_LEN)
		return DROP_STORE;
	sum = quote_sum(skb, s, quote, len);
	if (sum < 0 || cut(skb, s, ETH_LEN + quote) ||
	    bpf_skb_adjust_room(skb, (ip6 ? IP6_LEN : IP4_LEN) + 8, BPF_ADJ_ROOM_MAC, 0))
		return DROP_STORE;
	quote_words(&s->wire_inner, s->wire, s->wire_id);
	s->wire_id = 0;
	s->inner_l3 = ETH_LEN + (ip6 ? IP6_LEN : IP4_LEN) + 8;
	s->inner_l4 = s->inner_l3 + (s->l4 - s->l3);
	s->inner_len = quote - (s->l4 - s->l3);
	s->reply_len = 8 + quote;
	s->reply_sum = (__u16)~csum_fold(sum);
	return 0;
}

/* The words as headers in front of the quotation, checksums included. */
static __always_inline int put_error(struct __sk_buff *skb, struct scratch *s)
{
	const __u32 *w = s->cur.w;
	__u8 *f = s->buf.bytes + 2, *ip = f + ETH_LEN, *icmp;
	int ip6 = w[OW_ETH_TYPE] >> 16 == ETH_P_IPV6;
	__u32 len = s->reply_len, sum = s->reply_sum, i;

	__builtin_memset(f, 0, ETH_LEN + IP6_LEN + 8);
	put_mac(f, w + OW_ETH_DST);
	put_mac(f + 6, w + OW_ETH_SRC);
	put16(f + 12, w[OW_ETH_TYPE] >> 16);
	icmp = ip + (ip6 ? IP6_LEN : IP4_LEN);
	icmp[0] = w[OW_L4_PORTS] >> 16;
	icmp[1] = w[OW_L4_PORTS];
	put32(icmp + 4, w[OW_ICMP_REST]);
	if (ip6) {
		put32(ip, 6u << 28 | (w[OW_IP] & 0xff00) << 12 | (w[OW_IP6_LABEL] & 0xfffff));
		put16(ip + 4, len);
		ip[6] = PROTO_ICMP6;
		ip[7] = w[OW_IP] >> 16;
		for (i = 0; i < 4; i++) {
			put32(ip + 8 + 4 * i, w[OW_IP_SRC + i]);
			put32(ip + 24 + 4 * i, w[OW_IP_DST + i]);
		}
		/* Addresses and message lie side by side; then the rest of the
		 * pseudo header. */
		sum = bpf_csum_diff(NULL, 0, (__be32 *)(ip + 8), 40, sum);
		sum = (__u16)~csum_fold(sum);
		sum += bpf_htons(len) + bpf_htons(PROTO_ICMP6);
		*(__u16 *)(ip + IP6_LEN + 2) = csum_fold(sum);
	} else {
		ip[0] = 0x45;
		ip[1] = w[OW_IP] >> 8;
		put16(ip + 2, IP4_LEN + len);
		put16(ip + 6, 0x4000); /* DF: it is small, and has no identification */
		ip[8] = w[OW_IP] >> 16;
		ip[9] = PROTO_ICMP;
		put32(ip + 12, w[OW_IP_SRC + 3]);
		put32(ip + 16, w[OW_IP_DST + 3]);
		*(__u16 *)(ip + 10) = csum_fold(bpf_csum_diff(NULL, 0, (__be32 *)ip, IP4_LEN, 0));
		sum = bpf_csum_diff(NULL, 0, (__be32 *)(ip + IP4_LEN), 8, sum);
		*(__u16 *)(ip + IP4_LEN + 2) = csum_fold(sum);
	}
	s->l4 = ETH_LEN + (ip6 ? IP6_LEN : IP4_LEN);
	if (bpf_skb_store_bytes(skb, s->off, f, ETH_LEN, 0) ||
	    (ip6 ? bpf_skb_store_bytes(skb, s->off + ETH_LEN, ip, IP6_LEN + 8, BPF_F_RECOMPUTE_CSUM)
		 : bpf_skb_store_bytes(skb, s->off + ETH_LEN, ip, IP4_LEN + 8,
				       BPF_F_RECOMPUTE_CSUM)))
		return DROP_STORE;
	return 0;
}

#endif
