/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The headers that an ICMP error quotes: they say which connection the error is
 * about, and are translated with it (RFC 5508, section 4).  parse() reads them,
 * store() writes them; in between they are pkt.inner.
 */
#ifndef OVN_BPF_INNER_H
#define OVN_BPF_INNER_H

#include "chain.h"
#include "sctp.h"

#define HDR(word) ((word)-OW_HEADERS)
#define IP_PROTO(s) ((s)->wire[HDR(OW_IP)] >> 24)

static __always_inline int differ(const struct scratch *s, __u32 word, __u32 n)
{
	__u32 i, d = 0;

	for (i = 0; i < n; i++)
		d |= s->cur.w[word + i] ^ s->wire[HDR(word) + i];
	return d != 0;
}

/* Does anything of an ICMP message differ that is not a word? */
static __always_inline int icmp_differs(const struct scratch *s)
{
	const struct quoted *is = &s->cur.inner, *was = &s->wire_inner;
	__u32 i, d = is->ports ^ was->ports;

	if (!is->kind || !was->kind)
		return s->cur.icmp_id != s->wire_id;
	for (i = 0; i < 4; i++)
		d |= (is->src[i] ^ was->src[i]) | (is->dst[i] ^ was->dst[i]);
	return d || is->icmp_id != was->icmp_id;
}

/* ICMP messages that carry an identifier; and those that quote a packet: RFC
 * 792, 950, 4443. */
static __always_inline int icmp_query(__u32 proto, __u32 type)
{
	return proto == PROTO_ICMP ? type == 0 || type == 8 || (type >= 13 && type <= 16)
				   : proto == PROTO_ICMP6 && (type == 128 || type == 129);
}

static __always_inline int icmp_error(__u32 proto, __u32 type)
{
	return proto == PROTO_ICMP ? type == 3 || type == 4 || type == 5 || type == 11 || type == 12
				   : proto == PROTO_ICMP6 && type >= 1 && type <= 4;
}

/* The frame now says what the context says. */
static __always_inline void wire_is_cur(struct scratch *s)
{
	__u32 i;

	for (i = 0; i < WIRE_WORDS - 4; i++)
		s->wire[i] = s->cur.w[OW_HEADERS + i];
	s->wire_id = s->cur.icmp_id;
	s->wire_inner = s->cur.inner;
}

/* What an error about a packet would quote; h: its words from OW_HEADERS on. */
static __always_inline void quote_words(struct quoted *q, const __u32 *h, __u32 icmp_id)
{
	__u32 i, proto = h[OW_IP - OW_HEADERS] >> 24;
	__u32 icmp = h[OW_L4_PORTS - OW_HEADERS] >> 16;

	q->kind = icmp_error(proto, icmp) ? QUOTE_BAD : QUOTE_GOOD;
	q->proto = proto;
	for (i = 0; i < 4; i++) {
		q->src[i] = h[OW_IP_SRC - OW_HEADERS + i];
		q->dst[i] = h[OW_IP_DST - OW_HEADERS + i];
	}
	q->ports = h[OW_L4_PORTS - OW_HEADERS];
	q->icmp_id = icmp_id;
}

/* Another IPv4 source for the packet that an error quotes, of the kinds for which OVN
 * has an address to put back (pinctrl.c): unreachable, time exceeded, bad parameter. */
static __always_inline void quote_from(struct scratch *s, __u32 ip)
{
	__u32 type = s->cur.w[OW_L4_PORTS] >> 16;

	if (s->cur.inner.kind == QUOTE_GOOD && s->cur.w[OW_ETH_TYPE] >> 16 == ETH_P_IP &&
	    (type == 3 || type == 11 || type == 12))
		s->cur.inner.src[3] = ip;
}

/* Offset of the transport checksum from l4, or 0 when there is none to mend. */
static __always_inline __u32 inner_csum_at(__u32 proto)
{
	return proto == PROTO_TCP			     ? 16
	       : proto == PROTO_UDP			     ? 6
	       : proto == PROTO_ICMP || proto == PROTO_ICMP6 ? 2
							     : 0;
}

/* IPv4 header at inner_l3: addresses and protocol.  0, or -1 for a bad one. */
static __always_inline int inner_ip4(struct __sk_buff *skb, struct scratch *s)
{
	struct quoted *q = &s->cur.inner;
	struct ip4_hdr h;

	if (bpf_skb_load_bytes(skb, s->inner_l3, &h, IP4_LEN) || h.ver_ihl >> 4 != 4 ||
	    (h.ver_ihl & 15) < 5 || h.frag & bpf_htons(0x1fff))
		return -1;
	q->proto = h.proto;
	q->src[3] = bpf_ntohl(h.src);
	q->dst[3] = bpf_ntohl(h.dst);
	s->inner_l4 = s->inner_l3 + (h.ver_ihl & 15) * 4;
	return 0;
}

static __always_inline int inner_ip6(struct __sk_buff *skb, struct scratch *s, __u32 end)
{
	struct quoted *q = &s->cur.inner;
	__u32 off = s->off + s->inner_l3 + IP6_LEN, i;
	struct ip6_hdr h;
	struct chain *c = &s->chain;

	if (off > end || bpf_skb_load_bytes(skb, s->inner_l3, &h, IP6_LEN) ||
	    bpf_ntohl(h.ver_tc_label) >> 28 != 6)
		return -1;
	for (i = 0; i < 4; i++) {
		q->src[i] = bpf_ntohl(h.src[i]);
		q->dst[i] = bpf_ntohl(h.dst[i]);
	}
	c->at = off;
	c->end = end;
	c->next = h.next;
	if (extensions(skb, s) || c->frag & OVN_FRAG_LATER) /* without ports */
		return -1;
	q->proto = c->next;
	s->inner_l4 = c->at;
	return 0;
}

/*
 * parse_inner - fill pkt.inner from the ICMP error at l4
 *
 * An error that quotes less than a header and eight bytes, a later fragment or
 * another error is about nothing: QUOTE_BAD.  Lengths in the quotation count for
 * nothing, as it may be cut anywhere.  Returns 0, or DROP_BUG.
 */
__noinline int parse_inner(struct __sk_buff *skb, struct scratch *s)
{
	__u32 end, ip6, family;
	struct quoted *q;
	__u8 h[8] HEADER;

	if (!s)
		return DROP_BUG;
	q = &s->cur.inner;
	q->kind = QUOTE_BAD;
	end = s->l4 + s->l4_len;
	s->inner_l3 = s->l4 + 8;
	ip6 = s->cur.w[OW_ETH_TYPE] >> 16 == ETH_P_IPV6;
	family = ip6 ? PROTO_ICMP6 : PROTO_ICMP;
	if (s->cur.w[OW_IP] >> 24 != family || (ip6 ? inner_ip6(skb, s, end) : inner_ip4(skb, s)) ||
	    s->inner_l4 + 8 > end || bpf_skb_load_bytes(skb, s->inner_l4, h, 8))
		return 0;
	s->inner_len = end - s->inner_l4;
	switch (q->proto) {
	case PROTO_TCP:
	case PROTO_UDP:
	case PROTO_SCTP:
		q->ports = get32(h);
		break;
	case PROTO_ICMP:
	case PROTO_ICMP6:
		if (q->proto != family || !icmp_query(family, h[0]))
			return 0;
		q->ports = (__u32)h[0] << 16 | h[1];
		q->icmp_id = get16(h + 4);
		break;
	}
	q->kind = QUOTE_GOOD;
	return 0;
}

static __always_inline __u16 csum_add16(__u16 csum, __u32 diff)
{
	return csum_fold((__u32)(__u16)~csum + (__u16)~csum_fold(diff));
}

/* Sum of two sums, folded. */
static __always_inline __u32 sum_of(__u32 a, __u32 b)
{
	return (__u16)~csum_fold((__u32)(__u16)~csum_fold(a) + (__u16)~csum_fold(b));
}

static __always_inline int inner_put(struct __sk_buff *skb, const struct scratch *s, __u32 at,
				     const void *from, __u32 n)
{
	return bpf_skb_store_bytes(skb, s->off + at, from, n, BPF_F_RECOMPUTE_CSUM);
}

/* Bytes of the quoted packet's transport part, as its header has them. */
static __always_inline __u32 inner_whole(struct __sk_buff *skb, const struct scratch *s, int ip6)
{
	__be16 total;

	if (bpf_skb_load_bytes(skb, s->off + s->inner_l3 + (ip6 ? 4 : 2), &total, 2))
		return 0;
	return bpf_ntohs(total) + (ip6 ? IP6_LEN : 0) - (s->inner_l4 - s->inner_l3);
}

/* Has the sender left the quoted transport checksum at `field` to a device?  Then
 * it is the sum of the pseudo header, of which the addresses are in b[0..7]. */
static __always_inline int inner_partial(struct __sk_buff *skb, const struct scratch *s,
					 const __be32 *b, __u16 field, int ip6)
{
	__u32 proto = s->wire_inner.proto, sum;

	if (s->reply_part)
		return 1;
	if (proto != PROTO_TCP && proto != PROTO_UDP)
		return 0;
	sum = bpf_csum_diff(NULL, 0, (__be32 *)b, 32, bpf_htons(proto));
	return sum_of(sum, bpf_htons(inner_whole(skb, s, ip6) & 0xffff)) == field;
}

/* Addresses of the quoted header, out of b[8..15], and IPv4's checksum. */
static __always_inline int put_inner_ip(struct __sk_buff *skb, const struct scratch *s, __be32 *b,
					int ip6, __u32 pseudo)
{
	__u16 field;

	if (ip6)
		return inner_put(skb, s, s->inner_l3 + 8, b + 8, 32);
	b[16] = b[11];
	b[17] = b[15];
	if (bpf_skb_load_bytes(skb, s->off + s->inner_l3 + 10, &field, 2))
		return -1;
	field = csum_add16(field, pseudo);
	return inner_put(skb, s, s->inner_l3 + 10, &field, 2) ||
	       inner_put(skb, s, s->inner_l3 + 12, b + 16, 8);
}

/* SCTP's quoted checksum after a change of ports; returns what its sum gained. */
static __always_inline int put_inner_crc(struct __sk_buff *skb, const struct scratch *s, __be32 was,
					 __be32 is, int ip6)
{
	__u32 at = s->inner_l4 + 8, len = inner_whole(skb, s, ip6);
	__be32 from, to;

	if (s->inner_len < 12 || bpf_skb_load_bytes(skb, s->off + at, &from, 4))
		return 0;
	to = sctp_ports(from, was, is, len);
	if (inner_put(skb, s, at, &to, 4))
		return 0;
	return (__u16)~csum_fold(bpf_csum_diff(&from, 4, &to, 4, 0));
}

/*
 * store_inner - make the quotation say what pkt.inner says
 *
 * The quoted headers' own checksums are mended as far as they are quoted.
 * Returns, folded, what the sum of the bytes gained (for the checksum of the
 * error), or -1.
 */
__noinline int store_inner(struct __sk_buff *skb, struct scratch *s)
{
	__u32 proto, at, i, pseudo, ports, sum;
	struct quoted *is, *was;
	__be32 *b, from, to;
	__u16 field;
	int ip6;

	if (!s)
		return -1;
	is = &s->cur.inner;
	was = &s->wire_inner;
	b = s->buf.words;
	proto = was->proto;
	ip6 = s->wire[HDR(OW_ETH_TYPE)] >> 16 == ETH_P_IPV6;
	for (i = 0; i < 4; i++) {
		b[i] = bpf_htonl(was->src[i]);
		b[4 + i] = bpf_htonl(was->dst[i]);
		b[8 + i] = bpf_htonl(is->src[i]);
		b[12 + i] = bpf_htonl(is->dst[i]);
	}
	pseudo = bpf_csum_diff(b, 32, b + 8, 32, 0);
	if (put_inner_ip(skb, s, b, ip6, pseudo))
		return -1;
	at = s->inner_l4;
	if (proto == PROTO_ICMP || proto == PROTO_ICMP6) {
		from = bpf_htonl(was->icmp_id << 16);
		to = bpf_htonl(is->icmp_id << 16);
		field = bpf_htons(is->icmp_id);
		if (inner_put(skb, s, at + 4, &field, 2))
			return -1;
	} else {
		from = bpf_htonl(was->ports);
		to = bpf_htonl(is->ports);
		if (from != to && inner_put(skb, s, at, &to, 4))
			return -1;
	}
	ports = bpf_csum_diff(&from, 4, &to, 4, 0);
	sum = ip6 ? pseudo : 0; /* IPv4's own checksum makes up for it */
	if (proto == PROTO_SCTP && from != to)
		sum = sum_of(sum, put_inner_crc(skb, s, from, to, ip6));
	i = inner_csum_at(proto);
	at += i;
	if (!i || s->inner_len < i + 2 || bpf_skb_load_bytes(skb, s->off + at, &field, 2) ||
	    (proto == PROTO_UDP && !field))
		return sum_of(sum, ports);
	/* From here on the transport part's sum loses what the pseudo header
	 * gained, however its ports changed. */
	if (proto == PROTO_ICMP) {
		field = csum_add16(field, ports);
	} else if (inner_partial(skb, s, b, field, ip6)) {
		field = ~csum_add16(~field, pseudo);
		if (!s->reply_part) /* and no device will ever fill it in */
			return inner_put(skb, s, at, &field, 2)
				       ? -1
				       : (int)sum_of(sum, sum_of(pseudo, ports));
	} else {
		field = csum_add16(field, sum_of(pseudo, ports));
		if (proto == PROTO_UDP && !field)
			field = 0xffff;
	}
	if (inner_put(skb, s, at, &field, 2))
		return -1;
	if (proto == PROTO_ICMP || ip6)
		return 0;
	return (__u16)csum_fold(pseudo); /* minus */
}

#endif
