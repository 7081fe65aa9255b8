/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Words -> frame.  The pipeline changes words only; store() writes what differs
 * from the wire copy when a packet leaves, checksums included, so that clones
 * and group members need no frame of their own until then.
 */
#ifndef OVN_BPF_STORE_H
#define OVN_BPF_STORE_H

#include "reply.h"

#define HDR(word) ((word)-OW_HEADERS)
#define IP_PROTO(s) ((s)->wire[HDR(OW_IP)] >> 24)
#define NA_LEN (ETH_LEN + IP6_LEN + ND_LEN + 8)

static __always_inline int differ(const struct scratch *s, __u32 word, __u32 n)
{
	__u32 i, d = 0;

	for (i = 0; i < n; i++)
		d |= s->cur.w[word + i] ^ s->wire[HDR(word) + i];
	return d != 0;
}

/* Offset of the transport checksum from l4, or 0 when there is none to mend. */
static __always_inline __u32 l4_csum_at(__u32 proto)
{
	return proto == PROTO_TCP ? 16 : proto == PROTO_UDP ? 6 : proto == PROTO_ICMP6 ? 2 : 0;
}

static __always_inline int fix_l4(struct __sk_buff *skb, const struct scratch *s, __u32 from,
				  __u32 to, __u64 flags)
{
	__u32 proto = IP_PROTO(s), at = l4_csum_at(proto);

	if (!s->l4 || !at)
		return 0;
	if (proto == PROTO_UDP)
		flags |= BPF_F_MARK_MANGLED_0;
	return bpf_l4_csum_replace(skb, s->off + s->l4 + at, from, to, flags | 4);
}

static __always_inline int store_ip4(struct __sk_buff *skb, struct scratch *s)
{
	__u32 l3 = s->off + s->l3, i;
	__u32 was = s->wire[HDR(OW_IP)], is = s->cur.w[OW_IP];

	for (i = 0; i < 2; i++) {
		__u32 word = i ? OW_IP_DST + 3 : OW_IP_SRC + 3;
		__be32 from = bpf_htonl(s->wire[HDR(word)]), to = bpf_htonl(s->cur.w[word]);

		if (from == to)
			continue;
		if (fix_l4(skb, s, from, to, BPF_F_PSEUDO_HDR) ||
		    bpf_l3_csum_replace(skb, l3 + 10, from, to, 4) ||
		    bpf_skb_store_bytes(skb, l3 + 12 + 4 * i, &to, 4, 0))
			return DROP_STORE;
	}
	if ((was ^ is) & 0x00ff0000) { /* ttl and proto share a checksum word */
		__u8 ttl = is >> 16;
		__be16 from = bpf_htons((was >> 8 & 0xff00) | was >> 24);
		__be16 to = bpf_htons((is >> 8 & 0xff00) | was >> 24);

		if (bpf_l3_csum_replace(skb, l3 + 10, from, to, 2) ||
		    bpf_skb_store_bytes(skb, l3 + 8, &ttl, 1, 0))
			return DROP_STORE;
	}
	if ((was ^ is) & 0x0000ff00) {
		__u8 tos = is >> 8;
		__be16 from = bpf_htons(was >> 8 & 0xff), to = bpf_htons(is >> 8 & 0xff);

		if (bpf_l3_csum_replace(skb, l3 + 10, from, to, 2) ||
		    bpf_skb_store_bytes(skb, l3 + 1, &tos, 1, 0))
			return DROP_STORE;
	}
	return 0;
}

static __always_inline int store_ip6(struct __sk_buff *skb, struct scratch *s)
{
	__u32 l3 = s->off + s->l3, i;
	__u32 was = s->wire[HDR(OW_IP)], is = s->cur.w[OW_IP];

	for (i = 0; i < 8; i++) {
		__u32 word = OW_IP_SRC + i;
		__be32 from = bpf_htonl(s->wire[HDR(word)]), to = bpf_htonl(s->cur.w[word]);

		if (from == to)
			continue;
		if (fix_l4(skb, s, from, to, BPF_F_PSEUDO_HDR) ||
		    bpf_skb_store_bytes(skb, l3 + 8 + 4 * i, &to, 4, BPF_F_RECOMPUTE_CSUM))
			return DROP_STORE;
	}
	if ((was ^ is) & 0x00ff0000) {
		__u8 hops = is >> 16;

		if (bpf_skb_store_bytes(skb, l3 + 7, &hops, 1, BPF_F_RECOMPUTE_CSUM))
			return DROP_STORE;
	}
	if ((was ^ is) & 0x0000ff00 || differ(s, OW_IP6_LABEL, 1)) {
		__be32 first = bpf_htonl(6u << 28 | (is & 0xff00) << 12 |
					 (s->cur.w[OW_IP6_LABEL] & 0xfffff));

		if (bpf_skb_store_bytes(skb, l3, &first, 4, BPF_F_RECOMPUTE_CSUM))
			return DROP_STORE;
	}
	return 0;
}

/* Ports, or ICMP type and code. */
static __always_inline int store_l4(struct __sk_buff *skb, struct scratch *s)
{
	__u32 was = s->wire[HDR(OW_L4_PORTS)], is = s->cur.w[OW_L4_PORTS];
	__u32 l4 = s->off + s->l4, proto = IP_PROTO(s);

	if (proto == PROTO_TCP || proto == PROTO_UDP) {
		__be32 from = bpf_htonl(was), to = bpf_htonl(is);

		if (fix_l4(skb, s, from, to, 0) || bpf_skb_store_bytes(skb, l4, &to, 4, 0))
			return DROP_STORE;
		return 0;
	}
	if (proto == PROTO_ICMP || proto == PROTO_ICMP6) {
		__be16 from = bpf_htons((was >> 8 & 0xff00) | (was & 0xff));
		__be16 to = bpf_htons((is >> 8 & 0xff00) | (is & 0xff));

		if (bpf_l4_csum_replace(skb, l4 + 2, from, to, 2) ||
		    bpf_skb_store_bytes(skb, l4, &to, 2, 0))
			return DROP_STORE;
		return 0;
	}
	return DROP_STORE; /* SCTP's CRC covers the whole packet */
}

static __always_inline int store_arp(struct __sk_buff *skb, struct scratch *s)
{
	const __u32 *w = s->cur.w;
	__u8 a[22]; /* from ar$op on */

	put16(a, w[OW_TCP_ARP] >> 16);
	put_mac(a + 2, w + OW_ND_SLL);
	put32(a + 8, w[OW_IP_SRC + 3]);
	put_mac(a + 12, w + OW_ND_TLL);
	put32(a + 18, w[OW_IP_DST + 3]);
	return bpf_skb_store_bytes(skb, s->off + s->l3 + 6, a, sizeof(a), BPF_F_RECOMPUTE_CSUM)
		       ? DROP_STORE
		       : 0;
}

static __always_inline int store_vlan(struct __sk_buff *skb, struct scratch *s)
{
	__u32 was = s->wire[HDR(OW_ETH_TYPE)] & 0xffff, is = s->cur.w[OW_ETH_TYPE] & 0xffff;

	if (was == is)
		return 0;
	if (s->off)
		return DROP_STORE;
	if (was & VLAN_PRESENT && bpf_skb_vlan_pop(skb))
		return DROP_STORE;
	if (is & VLAN_PRESENT && bpf_skb_vlan_push(skb, bpf_htons(0x8100), is & 0xefff))
		return DROP_STORE;
	return 0;
}

/* A length of 1 to OVN_ORIG_BYTES, in a form that the verifiers of 6.1 and 6.12
 * see to be one. */
static __always_inline __u32 orig_len(__u32 len)
{
	len--;
	hide(len);
	return (len & (OVN_ORIG_BYTES - 1)) + 1;
}

/* Keep the frame for the work that is left after the reply. */
static __always_inline int keep_frame(struct __sk_buff *skb, struct scratch *s)
{
	__u32 len = skb->len - s->off;

	s->orig_len = 0;
	if (len > 0 && len <= OVN_ORIG_BYTES &&
	    !bpf_skb_load_bytes(skb, s->off, s->orig, orig_len(len)))
		s->orig_len = len;
	if (!s->orig_len && !last_use(s))
		return DROP_NO_REPLY;
	s->orig_l4 = s->l4;
	__builtin_memcpy(s->owire, s->wire, sizeof(s->wire));
	return 0;
}

/* The other way: the frame as it came. */
static __always_inline int restore_frame(struct __sk_buff *skb, struct scratch *s)
{
	__u32 len = s->orig_len, tci = s->wire[HDR(OW_ETH_TYPE)] & 0xffff;

	if (len < 1 || len > OVN_ORIG_BYTES || cut(skb, s->off + len) ||
	    bpf_skb_store_bytes(skb, s->off, s->orig, orig_len(len), BPF_F_RECOMPUTE_CSUM))
		return DROP_STORE;
	__builtin_memcpy(s->wire, s->owire, sizeof(s->wire));
	/* The tag is none of the frame's bytes. */
	s->wire[HDR(OW_ETH_TYPE)] = (s->wire[HDR(OW_ETH_TYPE)] & 0xffff0000) | tci;
	s->l4 = s->orig_l4;
	s->wire_reply = 0;
	return 0;
}

/*
 * A neighbour advertisement: all of it follows from the words (RFC 4861, section
 * 4.4).
 */
static __always_inline int put_na(struct __sk_buff *skb, struct scratch *s)
{
	const __u32 *w = s->cur.w;
	__u8 *f = s->buf.bytes + 2, *ip = f + ETH_LEN, *nd = ip + IP6_LEN;
	__u32 i;
	__u16 csum;

	if (cut(skb, s->off + NA_LEN))
		return DROP_STORE;
	put_mac(f, w + OW_ETH_DST);
	put_mac(f + 6, w + OW_ETH_SRC);
	put16(f + 12, ETH_P_IPV6);
	put32(ip, 6u << 28 | (w[OW_IP] & 0xff00) << 12);
	put16(ip + 4, ND_LEN + 8);
	ip[6] = PROTO_ICMP6;
	ip[7] = 255;
	for (i = 0; i < 4; i++) {
		put32(ip + 8 + 4 * i, w[OW_IP_SRC + i]);
		put32(ip + 24 + 4 * i, w[OW_IP_DST + i]);
		put32(nd + 8 + 4 * i, w[OW_ND_TARGET + i]);
	}
	put32(nd, ND_NA << 24);
	put32(nd + 4, s->cur.reply & 0xff000000);
	nd[24] = ND_OPT_TLL;
	nd[25] = 1;
	put_mac(nd + 26, w + OW_ND_TLL);
	/* Addresses and message lie side by side; length and protocol are the
	 * rest of the pseudo header. */
	csum = csum_fold(bpf_csum_diff(NULL, 0, (__be32 *)(ip + 8), 32 + ND_LEN + 8,
				       bpf_htons(ND_LEN + 8) + bpf_htons(PROTO_ICMP6)));
	*(__u16 *)(nd + 2) = csum;
	/* skb->csum, if there is one, starts behind the Ethernet header. */
	if (bpf_skb_store_bytes(skb, s->off, f, ETH_LEN, 0) ||
	    bpf_skb_store_bytes(skb, s->off + ETH_LEN, ip, NA_LEN - ETH_LEN, BPF_F_RECOMPUTE_CSUM))
		return DROP_STORE;
	return 0;
}

/* Make the frame the reply that the context says, or the frame that came. */
static __always_inline int store_reply(struct __sk_buff *skb, struct scratch *s)
{
	__u32 kind = s->cur.reply & 0xff, err = 0;

	if (s->cur.reply != s->wire_reply) {
		if (s->wire_reply)
			err = restore_frame(skb, s);
		if (!err && kind)
			err = keep_frame(skb, s);
		if (!err && kind == REPLY_ERROR)
			err = make_error(skb, s);
		else if (!err && kind == REPLY_RESET)
			err = make_reset(skb, s);
	} else if (!differ(s, OW_HEADERS, OVN_WORDS - OW_HEADERS)) {
		return 0;
	}
	if (err || !kind)
		return err;
	err = kind == REPLY_NA	    ? put_na(skb, s)
	      : kind == REPLY_ERROR ? put_error(skb, s)
				    : put_reset(skb, s);
	if (!err)
		s->wire_reply = s->cur.reply;
	return err;
}

static __always_inline int store_changes(struct __sk_buff *skb, struct scratch *s)
{
	__u32 type = s->wire[HDR(OW_ETH_TYPE)] >> 16;
	int err = 0;

	if (differ(s, OW_ETH_DST, 4)) {
		__u8 macs[12];

		put_mac(macs, s->cur.w + OW_ETH_DST);
		put_mac(macs + 6, s->cur.w + OW_ETH_SRC);
		if (bpf_skb_store_bytes(skb, s->off, macs, 12, 0))
			return DROP_STORE;
	}
	if (type == ETH_P_ARP || type == ETH_P_RARP)
		return differ(s, OW_IP_SRC, HDR(OW_END) - HDR(OW_IP_SRC)) ? store_arp(skb, s) : 0;
	if (differ(s, OW_ND_TARGET, OW_END - OW_ND_TARGET) || differ(s, OW_TCP_ARP, 1))
		return DROP_STORE; /* nobody sets these outside a reply */
	if (type == ETH_P_IP && differ(s, OW_IP, 9))
		err = store_ip4(skb, s);
	else if (type == ETH_P_IPV6 && (differ(s, OW_IP, 9) || differ(s, OW_IP6_LABEL, 1)))
		err = store_ip6(skb, s);
	if (!err && s->l4 && differ(s, OW_L4_PORTS, 1))
		err = store_l4(skb, s);
	return err;
}

/*
 * store - make the frame say what the context says
 *
 * The frame's (inner) Ethernet header is at s->off.  Returns 0 or a drop
 * reason; after a failure the frame must not be sent.
 */
__noinline int store(struct __sk_buff *skb, __u32 depth)
{
	struct scratch *s = scratch_at(depth);
	int err = 0;
	__u32 i;

	if (!s)
		return DROP_BUG;
	if (s->cur.reply || s->wire_reply)
		err = store_reply(skb, s);
	if (!err)
		err = store_vlan(skb, s);
	if (!err && !s->cur.reply)
		err = store_changes(skb, s);
	if (err)
		return err;
	if (skb->mark != s->cur.w[OW_PKT_MARK])
		skb->mark = s->cur.w[OW_PKT_MARK];
	if (skb->priority != s->cur.queue)
		skb->priority = s->cur.queue;
	for (i = 0; i < WIRE_WORDS - 4; i++)
		s->wire[i] = s->cur.w[OW_HEADERS + i];
	return 0;
}

#endif
