/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Words -> frame.  The pipeline changes words only; store() writes what differs
 * from the wire copy when a packet leaves, checksums included, so that clones
 * and group members need no frame of their own until then.
 */
#ifndef OVN_BPF_STORE_H
#define OVN_BPF_STORE_H

#include "answer.h"
#include "sctp.h"

/* Of a protocol whose checksum may wait for a device: where that is from l4 on, and
 * flags for bpf_l4_csum_replace().  A table, for then the verifier knows nothing of
 * what it finds and need not go on with each. */
static const struct {
	__u8 at;
	__u8 flags;
} l4_sums[256] = {
	[PROTO_TCP] = { 16, 0 },
	[PROTO_UDP] = { 6, BPF_F_MARK_MANGLED_0 },
};

static __always_inline int fix_l4(struct __sk_buff *skb, const struct scratch *s, __u32 from,
				  __u32 to, __u64 flags)
{
	__u32 proto = IP_PROTO(s), at = l4_sums[proto].at;

	if (!s->l4 || !at)
		return 0;
	flags |= l4_sums[proto].flags;
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

/* store_address - word i of IPv6's addresses, by itself as it is done for each of eight */
__noinline int store_address(struct __sk_buff *skb, const struct scratch *s, __u32 i)
{
	__be32 from, to;

	if (!s)
		return DROP_BUG;
	i &= 7;
	from = bpf_htonl(s->wire[HDR(OW_IP_SRC) + i]);
	to = bpf_htonl(s->cur.w[OW_IP_SRC + i]);
	if (from == to)
		return 0;
	if (fix_l4(skb, s, from, to, BPF_F_PSEUDO_HDR) ||
	    bpf_skb_store_bytes(skb, s->off + s->l3 + 8 + 4 * i, &to, 4, BPF_F_RECOMPUTE_CSUM))
		return DROP_STORE;
	return 0;
}

static __always_inline int store_ip6(struct __sk_buff *skb, struct scratch *s)
{
	__u32 l3 = s->off + s->l3, i;
	__u32 was = s->wire[HDR(OW_IP)], is = s->cur.w[OW_IP];

	ROLLED
	for (i = 0; i < 8; i++)
		if (store_address(skb, s, i))
			return DROP_STORE;
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

/*
 * ICMP: type, code, identifier, quoted headers, and the checksum, by ourselves.
 * The kernel's helpers leave a checksum to the device when the sender left one to
 * it, which may have been that of the quoted packet.
 */
static __always_inline int store_icmp(struct __sk_buff *skb, struct scratch *s, __u32 gained)
{
	__u32 l4 = s->off + s->l4, i, was = s->wire[HDR(OW_L4_PORTS)], is = s->cur.w[OW_L4_PORTS];
	__be32 from[2], to[2];
	__u16 field, half;
	__u32 sum = 0;

	if (s->wire[HDR(OW_ETH_TYPE)] >> 16 == ETH_P_IPV6)
		for (i = 0; i < 8; i++) {
			from[0] = bpf_htonl(s->wire[HDR(OW_IP_SRC + i)]);
			to[0] = bpf_htonl(s->cur.w[OW_IP_SRC + i]);
			sum = bpf_csum_diff(from, 4, to, 4, sum);
		}
	from[0] = bpf_htonl((was & 0xff0000) << 8 | (was & 0xff) << 16);
	to[0] = bpf_htonl((is & 0xff0000) << 8 | (is & 0xff) << 16);
	from[1] = bpf_htonl(s->wire_id << 16);
	to[1] = bpf_htonl(s->cur.icmp_id << 16);
	sum = bpf_csum_diff(from, 8, to, 8, sum);
	half = bpf_htons((is >> 8 & 0xff00) | (is & 0xff));
	if (was != is && bpf_skb_store_bytes(skb, l4, &half, 2, BPF_F_RECOMPUTE_CSUM))
		return DROP_STORE;
	half = bpf_htons(s->cur.icmp_id);
	if (from[1] != to[1] && bpf_skb_store_bytes(skb, l4 + 4, &half, 2, BPF_F_RECOMPUTE_CSUM))
		return DROP_STORE;
	sum = (__u16)~csum_fold(sum) + gained;
	if (bpf_skb_load_bytes(skb, l4 + 2, &field, 2))
		return DROP_STORE;
	field = csum_add16(field, sum);
	return bpf_skb_store_bytes(skb, l4 + 2, &field, 2, BPF_F_RECOMPUTE_CSUM) ? DROP_STORE : 0;
}

/* Ports. */
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
	if (proto == PROTO_SCTP) {
		__be32 to = bpf_htonl(is);
		__u32 csum;

		/* How much the checksum covers is unknown of a fragment. */
		if (s->frag || bpf_skb_load_bytes(skb, l4 + 8, &csum, 4))
			return DROP_STORE;
		csum = sctp_ports(csum, bpf_htonl(was), to, s->l4_len);
		if (bpf_skb_store_bytes(skb, l4, &to, 4, BPF_F_RECOMPUTE_CSUM) ||
		    bpf_skb_store_bytes(skb, l4 + 8, &csum, 4, BPF_F_RECOMPUTE_CSUM))
			return DROP_STORE;
		return 0;
	}
	return DROP_STORE;
}

static __always_inline int store_arp(struct __sk_buff *skb, struct scratch *s)
{
	const __u32 *w = s->cur.w;
	__u8 a[22] HEADER; /* from ar$op on */

	put16(a, w[OW_TCP_ARP] >> 16);
	put_mac(a + 2, w + OW_ND_SLL);
	put32(a + 8, w[OW_IP_SRC + 3]);
	put_mac(a + 12, w + OW_ND_TLL);
	put32_even(a + 18, w[OW_IP_DST + 3]);
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

/*
 * store_changes - write what differs from the frame, which is no reply
 *
 * gained: what the sum of the headers that it quotes gained.  Returns 0 or a drop
 * reason.
 */
__noinline int store_changes(struct __sk_buff *skb, struct scratch *s, __u32 gained)
{
	__u32 type, proto;
	int err = 0;

	if (!s)
		return DROP_BUG;
	type = s->wire[HDR(OW_ETH_TYPE)] >> 16;
	proto = IP_PROTO(s);
	if (differ(s, OW_ETH_DST, 4)) {
		__u8 macs[12] HEADER;

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
	if (err || !s->l4)
		return err;
	if (proto != PROTO_ICMP && proto != PROTO_ICMP6)
		return differ(s, OW_L4_PORTS, 1) ? store_l4(skb, s) : 0;
	if (differ(s, OW_L4_PORTS, 1) || icmp_differs(s) ||
	    (type == ETH_P_IPV6 && differ(s, OW_IP_SRC, 8)))
		err = store_icmp(skb, s, gained & 0xffff);
	return err;
}

/*
 * store - make the frame say what the context says
 *
 * The frame's (inner) Ethernet header is at s->off.  Returns 0 or a drop
 * reason; after a failure the frame must not be sent.
 */
__noinline int store(struct __sk_buff *skb, struct scratch *s)
{
	int err = 0, gained = 0;

	if (!s)
		return DROP_BUG;
	if (s->cur.reply != s->wire_reply) {
		err = turn_frame(skb, s);
		if (err)
			return err;
	}
	if (s->cur.inner.kind == QUOTE_GOOD && s->wire_inner.kind == QUOTE_GOOD &&
	    icmp_differs(s)) {
		gained = store_inner(skb, s);
		if (gained < 0)
			return DROP_STORE;
	}
	if (s->cur.reply && s->cur.reply != REPLY_SERVED &&
	    (s->cur.reply != s->wire_reply || gained ||
	     differ(s, OW_HEADERS, OVN_WORDS - OW_HEADERS)))
		err = put_reply(skb, s, gained);
	if (!err)
		err = store_vlan(skb, s);
	if (!err && (!s->cur.reply || s->cur.reply == REPLY_SERVED))
		err = store_changes(skb, s, gained);
	if (err)
		return err;
	if (skb->mark != s->cur.w[OW_PKT_MARK])
		skb->mark = s->cur.w[OW_PKT_MARK];
	if (skb->priority != s->cur.queue)
		skb->priority = s->cur.queue;
	wire_is_cur(s);
	return 0;
}

#endif
