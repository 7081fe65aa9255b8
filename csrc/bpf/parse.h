/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Frame -> words.  Called once per packet, at entry.  Fields that a frame does
 * not have stay 0; a header that claims more than the frame holds makes the
 * frame malformed, because a flow would otherwise match what was not there.
 */
#ifndef OVN_BPF_PARSE_H
#define OVN_BPF_PARSE_H

#include "inner.h"

static long nd_option(__u32 i __attribute__((unused)), struct chain_walk *walk)
{
	struct chain *c = &walk->s->chain;
	__u32 *w = walk->s->cur.w;
	__u8 opt[8] HEADER;

	if (c->at == c->end)
		return 1;
	if (c->at + 8 > c->end || bpf_skb_load_bytes(walk->skb, c->at, opt, 8) || !opt[1]) {
		c->bad = 1;
		return 1;
	}
	if (opt[0] == ND_OPT_SLL && opt[1] == 1 && c->next == ND_NS)
		get_mac(w + OW_ND_SLL, opt + 2);
	if (opt[0] == ND_OPT_TLL && opt[1] == 1 && c->next == ND_NA)
		get_mac(w + OW_ND_TLL, opt + 2);
	c->at += opt[1] * 8;
	return 0;
}

/* Neighbour message at l4: target and the link-layer option. */
static __always_inline int parse_nd(struct __sk_buff *skb, struct scratch *s, __u32 type,
				    __u32 l4_len)
{
	struct chain_walk walk = { .skb = skb, .s = s };
	struct chain *c = &s->chain;
	__u8 nd[ND_LEN] HEADER;
	__u32 i;

	if (l4_len < ND_LEN || bpf_skb_load_bytes(skb, s->l4, nd, ND_LEN))
		return DROP_MALFORMED;
	for (i = 0; i < 4; i++)
		s->cur.w[OW_ND_TARGET + i] = get32(nd + 8 + 4 * i);
	c->at = s->l4 + ND_LEN;
	c->end = s->l4 + l4_len;
	c->next = type;
	c->bad = 0;
	bpf_loop(OVN_MAX_ND_OPTS, nd_option, &walk, 0);
	return c->bad || c->at != c->end ? DROP_MALFORMED : 0;
}

/* Transport header at s->l4, s->l4_len bytes of it and its payload in the frame. */
static __always_inline int parse_l4(struct __sk_buff *skb, struct scratch *s)
{
	__u32 *w = s->cur.w, proto = w[OW_IP] >> 24, l4_len = s->l4_len;
	__u8 h[14] HEADER;

	switch (proto) {
	case PROTO_TCP:
		if (l4_len < 20 || bpf_skb_load_bytes(skb, s->l4, h, 14) || (h[12] >> 4) < 5 ||
		    (__u32)(h[12] >> 4) * 4 > l4_len)
			return DROP_MALFORMED;
		w[OW_L4_PORTS] = get32(h);
		w[OW_TCP_ARP] = get16(h + 12) & 0xfff;
		return 0;
	case PROTO_UDP:
	case PROTO_SCTP:
		if (l4_len < (proto == PROTO_UDP ? UDP_LEN : 12) ||
		    bpf_skb_load_bytes(skb, s->l4, h, 4))
			return DROP_MALFORMED;
		w[OW_L4_PORTS] = get32(h);
		return 0;
	case PROTO_ICMP:
	case PROTO_ICMP6:
		if (l4_len < 8 || bpf_skb_load_bytes(skb, s->l4, h, 8))
			return DROP_MALFORMED;
		w[OW_L4_PORTS] = (__u32)h[0] << 16 | h[1];
		if (icmp_query(proto, h[0]))
			s->cur.icmp_id = get16(h + 4);
		if (proto == PROTO_ICMP6 && (h[0] == ND_NS || h[0] == ND_NA) && !h[1] &&
		    (w[OW_IP] >> 16 & 0xff) == 255)
			return parse_nd(skb, s, h[0], l4_len);
		return 0;
	}
	return 0;
}

static __always_inline int parse_ip4(struct __sk_buff *skb, struct scratch *s)
{
	__u32 *w = s->cur.w, room = skb->len - s->l3, hlen, len, frag, fbits = 0;
	struct ip4_hdr h;

	if (skb->len < s->l3 + IP4_LEN || bpf_skb_load_bytes(skb, s->l3, &h, IP4_LEN))
		return DROP_MALFORMED;
	hlen = (h.ver_ihl & 15) * 4;
	len = bpf_ntohs(h.len);
	if (!len && skb->gso_size) /* BIG TCP: longer than the field can say */
		len = room;
	/* A GSO frame's length may be short of it too after encapsulation. */
	if (h.ver_ihl >> 4 != 4 || hlen < IP4_LEN || len < hlen || len > room)
		return DROP_MALFORMED;
	frag = bpf_ntohs(h.frag);
	if (frag & 0x3fff)
		fbits = OVN_FRAG_ANY | (frag & 0x1fff ? OVN_FRAG_LATER : 0);
	s->ip4_len = hlen;
	s->frag = fbits;
	s->frag_at = (frag & 0x1fff) * 8;
	s->frag_len = len - hlen;
	s->frag_id = bpf_ntohs(h.id);
	s->frag_proto = h.proto;
	w[OW_IP] = (__u32)h.proto << 24 | (__u32)h.ttl << 16 | (__u32)h.tos << 8 | fbits;
	w[OW_IP_SRC + 3] = bpf_ntohl(h.src);
	w[OW_IP_DST + 3] = bpf_ntohl(h.dst);
	if (fbits & OVN_FRAG_LATER)
		return 0;
	s->l4 = s->l3 + hlen;
	s->l4_len = len - hlen;
	return 0;
}

static __always_inline int parse_ip6(struct __sk_buff *skb, struct scratch *s)
{
	__u32 *w = s->cur.w, room = skb->len - s->l3, i, end;
	struct chain *c = &s->chain;
	struct ip6_hdr h;

	if (skb->len < s->l3 + IP6_LEN || bpf_skb_load_bytes(skb, s->l3, &h, IP6_LEN) ||
	    bpf_ntohl(h.ver_tc_label) >> 28 != 6)
		return DROP_MALFORMED;
	end = bpf_ntohs(h.len) + IP6_LEN;
	if (end == IP6_LEN && skb->gso_size) /* BIG TCP jumbogram */
		end = room;
	if (end > room)
		return DROP_MALFORMED;
	end += s->l3;
	for (i = 0; i < 4; i++) {
		w[OW_IP_SRC + i] = bpf_ntohl(h.src[i]);
		w[OW_IP_DST + i] = bpf_ntohl(h.dst[i]);
	}
	w[OW_IP6_LABEL] = bpf_ntohl(h.ver_tc_label) & 0xfffff;
	c->at = s->l3 + IP6_LEN;
	c->end = end;
	c->next = h.next;
	if (extensions(skb, s) || c->at > end)
		return DROP_MALFORMED;
	if (c->frag) {
		s->frag_at = c->frag_at;
		s->frag_len = c->frag_len;
		s->frag_id = c->frag_id;
		s->frag_proto = c->frag_next;
	}
	s->frag = c->frag;
	w[OW_IP] = c->next << 24 | (__u32)h.hops << 16 |
		   (bpf_ntohl(h.ver_tc_label) >> 12 & 0xff00) | c->frag;
	if (c->frag & OVN_FRAG_LATER)
		return 0;
	s->l4 = c->at;
	s->l4_len = end - c->at;
	return 0;
}

static __always_inline int parse_arp(struct __sk_buff *skb, struct scratch *s)
{
	__u32 *w = s->cur.w;
	struct arp_hdr h HEADER;

	if (skb->len < s->l3 + ARP_LEN || bpf_skb_load_bytes(skb, s->l3, &h, ARP_LEN))
		return DROP_MALFORMED;
	if (h.hrd != bpf_htons(1) || h.pro != bpf_htons(ETH_P_IP) || h.hln != 6 || h.pln != 4)
		return 0; /* not Ethernet and IPv4: a frame without ARP fields */
	w[OW_TCP_ARP] = (__u32)bpf_ntohs(h.op) << 16;
	w[OW_IP_SRC + 3] = get32_even(h.spa);
	w[OW_IP_DST + 3] = get32(h.tpa);
	get_mac(w + OW_ND_SLL, h.sha);
	get_mac(w + OW_ND_TLL, h.tha);
	return 0;
}

/*
 * parse - fill the header words of the context and the wire copy
 *
 * The Ethernet header is at offset 0.  Returns 0 or a drop reason.
 */
__noinline int parse(struct __sk_buff *skb, struct scratch *s)
{
	__u32 type, tci = 0;
	__u8 eth[ETH_LEN] HEADER;
	int err = 0;

	if (!s)
		return DROP_BUG;
	__builtin_memset(&s->cur, 0, sizeof(s->cur));
	s->off = 0;
	s->l3 = ETH_LEN;
	s->l4 = 0;
	s->l4_len = 0;
	s->frag = 0;
	s->ip4_len = 0;
	s->csum = 0;
	s->reply_part = 0;
	s->wire_reply = 0;
	if (bpf_skb_load_bytes(skb, 0, eth, ETH_LEN))
		return DROP_MALFORMED;
	get_mac(s->cur.w + OW_ETH_DST, eth);
	get_mac(s->cur.w + OW_ETH_SRC, eth + 6);
	type = get16(eth + 12);
	if (skb->vlan_present)
		tci = (skb->vlan_tci & 0xefff) | VLAN_PRESENT;
	s->cur.w[OW_ETH_TYPE] = type << 16 | tci;
	s->cur.w[OW_PKT_MARK] = skb->mark;
	s->cur.queue = skb->priority;
	if (type == ETH_P_IP)
		err = parse_ip4(skb, s);
	else if (type == ETH_P_IPV6)
		err = parse_ip6(skb, s);
	else if (type == ETH_P_ARP || type == ETH_P_RARP)
		err = parse_arp(skb, s);
	if (!err && s->l4)
		err = parse_l4(skb, s);
	if (!err && s->l4 && icmp_error(s->cur.w[OW_IP] >> 24, s->cur.w[OW_L4_PORTS] >> 16))
		parse_inner(skb, s);
	wire_is_cur(s);
	return err;
}

#endif
