/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Is the transport checksum of the frame right?  The tracker asks before it
 * believes a packet, as OVS and the kernel's tracker do: an invalid packet that
 * its receiver drops must not move a connection's state.
 */
#ifndef OVN_BPF_CSUM_H
#define OVN_BPF_CSUM_H

#include "inner.h"
#include "sctp.h"

#define SUM_BLOCK OVN_SUM_BYTES
#define SUM_BLOCKS (65536 / SUM_BLOCK)

enum csum_state {
	CSUM_UNKNOWN = 0,
	CSUM_GOOD,
	CSUM_BAD,
};

struct sum_walk {
	struct __sk_buff *skb;
	struct scratch *s;
	__u32 at;
	__u32 left;
	__u32 sum;
};

static long sum_block(__u32 i __attribute__((unused)), struct sum_walk *c)
{
	__u8 *b = c->s->buf.bytes;
	__u32 n = c->left < SUM_BLOCK ? c->left : SUM_BLOCK;

	n--;
	hide(n);
	n = (n & (SUM_BLOCK - 1)) + 1;
	if (bpf_skb_load_bytes(c->skb, c->at, b, n))
		return 1;
	b[n] = 0; /* there is room for it behind the block */
	b[n + 1] = 0;
	b[n + 2] = 0;
	c->sum = bpf_csum_diff(NULL, 0, (__be32 *)b, (n + 3) & ~3u, c->sum);
	c->at += n;
	c->left -= n;
	return !c->left;
}

/* Sum of `len` bytes of the frame from `off`, folded; -1: they are not there. */
static __always_inline int block_sum(struct __sk_buff *skb, struct scratch *s, __u32 off, __u32 len)
{
	struct sum_walk c = { .skb = skb, .s = s, .at = off, .left = len };

	if (len)
		bpf_loop(SUM_BLOCKS, sum_block, &c, 0);
	return c.left ? -1 : (__u16)~csum_fold(c.sum);
}

/* Sum of the pseudo header of what the frame has, folded. */
static __always_inline __u32 pseudo_sum(const struct scratch *s, __u32 proto)
{
	__be32 a[8];
	__u32 i;

	for (i = 0; i < 8; i++)
		a[i] = bpf_htonl(s->wire[HDR(OW_IP_SRC + i)]);
	i = bpf_csum_diff(NULL, 0, a, sizeof(a), bpf_htons(proto));
	i = (__u16)~csum_fold(i) + (__u32)bpf_htons(s->l4_len & 0xffff);
	return (__u16)~csum_fold(i);
}

static __always_inline int l4_sum_good(struct __sk_buff *skb, struct scratch *s)
{
	__u32 proto = IP_PROTO(s), at = proto == PROTO_TCP ? 16 : 6, pseudo = 0;
	int sum, tail = proto == PROTO_TCP || proto == PROTO_UDP;
	__u16 h[4];

	if (tail) {
		if (proto == PROTO_UDP &&
		    (bpf_skb_load_bytes(skb, s->l4, h, 8) || bpf_ntohs(h[2]) < UDP_LEN ||
		     bpf_ntohs(h[2]) > s->l4_len))
			return 0;
		if (bpf_skb_load_bytes(skb, s->l4 + at, h, 2))
			return 0;
		if (proto == PROTO_UDP && !h[0])
			return 1;
		pseudo = pseudo_sum(s, proto);
		if (h[0] == pseudo) /* the rest is left to a device */
			return 1;
		if (bpf_csum_level(skb, BPF_CSUM_LEVEL_QUERY) >= 0)
			return 1; /* a device looked */
	} else if (proto == PROTO_ICMP6) {
		pseudo = pseudo_sum(s, proto);
	}
	sum = block_sum(skb, s, s->l4, s->l4_len);
	return sum >= 0 && !csum_fold(sum + pseudo);
}

/* IPv4's own. */
static __always_inline int ip4_sum_good(struct __sk_buff *skb, struct scratch *s)
{
	__u32 n = s->ip4_len - 1;

	hide(n);
	n = (n & 63) + 1; /* 20 to 60 */
	if (bpf_skb_load_bytes(skb, s->l3, s->buf.bytes, n))
		return 0;
	return !csum_fold(bpf_csum_diff(NULL, 0, s->buf.words, n & ~3u, 0));
}

/*
 * quote_sum_good - will the checksum of an ICMP error be right when it leaves?
 *
 * A local sender's packet may wait for a device to sum its transport part; an error
 * that quotes it (icmp.h) is summed as if that had been done.  Returns 1 or 0.
 */
__noinline int quote_sum_good(struct __sk_buff *skb, struct scratch *s)
{
	__u32 at, ip6, i, proto;
	__be32 *b;
	__u16 field;
	int sum;

	if (!s || s->wire_inner.kind != QUOTE_GOOD)
		return 0;
	proto = s->wire_inner.proto;
	ip6 = s->wire[HDR(OW_ETH_TYPE)] >> 16 == ETH_P_IPV6;
	at = inner_csum_at(proto);
	if ((proto != PROTO_TCP && proto != PROTO_UDP) || s->inner_len < at + 2 ||
	    bpf_skb_load_bytes(skb, s->inner_l4 + at, &field, 2))
		return 0;
	b = s->buf.words;
	for (i = 0; i < 4; i++) {
		b[i] = bpf_htonl(s->wire_inner.src[i]);
		b[4 + i] = bpf_htonl(s->wire_inner.dst[i]);
	}
	if (!inner_partial(skb, s, b, field, ip6))
		return 0;
	sum = block_sum(skb, s, s->l4, s->inner_l4 - s->l4);
	/* What is quoted will sum to what its pseudo header lacks. */
	if (sum < 0 ||
	    csum_fold((__u32)sum + (__u16)~field + (ip6 ? pseudo_sum(s, PROTO_ICMP6) : 0)))
		return 0;
	s->reply_part = 1; /* for store_inner() */
	return 1;
}

/*
 * csum_ok - are the frame's IPv4 and transport checksums right?
 *
 * Yes as well: a checksum that is left to a device, whose sum is of the pseudo
 * header only (RFC 1071 sums; TCP, UDP), or that of an error which quotes such a
 * packet; one that a device checked; a UDP checksum of 0; a fragment, of which one
 * sees too little; a segment that is yet to be cut up; a reply that is not yet made.
 * Summed once for a frame, whatever the number of zones.  Returns 1 or 0.
 */
__noinline int csum_ok(struct __sk_buff *skb, struct scratch *s)
{
	__u32 proto;
	int good = 1;

	if (!s)
		return 0;
	if (s->trace || s->cur.reply || s->wire_reply || s->off || skb->gso_size)
		return 1;
	if (s->csum != CSUM_UNKNOWN)
		return s->csum == CSUM_GOOD;
	proto = IP_PROTO(s);
	if (s->ip4_len && !ip4_sum_good(skb, s))
		good = 0;
	else if (s->frag || !s->l4)
		good = 1;
	else if (proto == PROTO_SCTP)
		good = sctp_sum_good(skb, s);
	else if (proto == PROTO_TCP || proto == PROTO_UDP || proto == PROTO_ICMP ||
		 proto == PROTO_ICMP6)
		good = l4_sum_good(skb, s) || quote_sum_good(skb, s);
	s->csum = good ? CSUM_GOOD : CSUM_BAD;
	return good;
}

#endif
