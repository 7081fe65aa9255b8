/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Receiving from another chassis: a Geneve packet is taken only from the
 * address of a known chassis, and only with OVN's option; it enters the egress
 * pipeline of the outport that the option names, never an ingress pipeline.
 */
#ifndef OVN_BPF_DECAP_H
#define OVN_BPF_DECAP_H

#include "chain.h"
#include "ports.h"

/* What the outer headers say. */
struct outer {
	struct ovn_peer_key from;
	__u8 to[16];
	__u32 l4;  /* offset of the UDP header */
	__u32 len; /* from the frame's start to the inner Ethernet header */
	__u32 ip6;
};

/* Is this UDP to a port that we serve?  1 yes, 0 no: leave it to the host. */
static __always_inline int parse_outer(struct __sk_buff *skb, struct outer *o, __u16 port)
{
	struct ip4_hdr h4;
	struct ip6_hdr h6;
	struct udp_hdr udp;

	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		if (bpf_skb_load_bytes(skb, ETH_LEN, &h4, IP4_LEN) || h4.proto != PROTO_UDP ||
		    h4.frag & bpf_htons(0x3fff) || h4.ver_ihl >> 4 != 4 || h4.ver_ihl < 0x45)
			return 0;
		o->from.addr[10] = o->from.addr[11] = o->to[10] = o->to[11] = 0xff;
		__builtin_memcpy(o->from.addr + 12, &h4.src, 4);
		__builtin_memcpy(o->to + 12, &h4.dst, 4);
		o->l4 = ETH_LEN + (h4.ver_ihl & 15) * 4;
	} else if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		if (bpf_skb_load_bytes(skb, ETH_LEN, &h6, IP6_LEN) || h6.next != PROTO_UDP)
			return 0;
		__builtin_memcpy(o->from.addr, h6.src, 16);
		__builtin_memcpy(o->to, h6.dst, 16);
		o->l4 = ETH_LEN + IP6_LEN;
		o->ip6 = 1;
	} else {
		return 0;
	}
	return !bpf_skb_load_bytes(skb, o->l4, &udp, UDP_LEN) && udp.dst == bpf_htons(port);
}

static long tunnel_option(__u32 i __attribute__((unused)), struct chain_walk *walk)
{
	struct scratch *s = walk->s;
	struct chain *c = &s->chain;
	struct geneve_opt opt;

	c->bad = DROP_TUN_HEADER;
	if (bpf_skb_load_bytes(walk->skb, c->at, &opt, 4))
		return 1;
	c->at += 4 + (opt.len & 31) * 4;
	if (c->at > c->end)
		return 1;
	c->bad = DROP_TUN_OPTION;
	if (opt.cls == bpf_htons(OVN_GENEVE_CLASS) && opt.type == OVN_GENEVE_TYPE) {
		if ((opt.len & 31) != 1 || bpf_skb_load_bytes(walk->skb, c->at - 4, &opt.data, 4))
			return 1;
		s->tun_opt = bpf_ntohl(opt.data);
		c->n = 1;
	} else if (opt.type & GENEVE_CRITICAL) {
		return 1; /* RFC 8926: unknown and critical */
	}
	c->bad = 0;
	return c->at >= c->end;
}

/* Base header and options.  Returns 0 or a drop reason. */
static __always_inline int parse_geneve(struct __sk_buff *skb, struct scratch *s, struct outer *o)
{
	struct chain_walk walk = { .skb = skb, .s = s };
	struct chain *c = &s->chain;
	__u32 at = o->l4 + UDP_LEN;
	struct geneve_hdr g;

	if (bpf_skb_load_bytes(skb, at, &g, sizeof(g)) || g.ver_optlen >> 6 || g.flags & 0x80 ||
	    g.proto != bpf_htons(ETH_P_TEB))
		return DROP_TUN_HEADER;
	c->at = at + sizeof(g);
	c->end = c->at + (g.ver_optlen & 63) * 4;
	c->n = 0;
	c->bad = 0;
	s->tun_vni = bpf_ntohl(g.vni) >> 8;
	o->len = c->end;
	if (c->at < c->end)
		bpf_loop(OVN_MAX_TUN_OPTS, tunnel_option, &walk, 0);
	if (c->bad)
		return c->bad;
	if (c->at < c->end || !c->n)
		return DROP_TUN_OPTION;
	return skb->len < o->len + ETH_LEN ? DROP_MALFORMED : 0;
}

/*
 * Before 6.3 skb->protocol stays the outer header's.  Where that is wrong a GSO
 * frame could not be segmented on the way out, so let the kernel turn one family
 * into the other: it moves the header's end by their difference and knows from
 * then on what the frame is.  Returns by how much o->len has changed.
 */
static __always_inline __s32 align_family(struct __sk_buff *skb, const struct outer *o, __u32 type)
{
	if (type == ETH_P_IPV6 && !o->ip6)
		return bpf_skb_change_proto(skb, bpf_htons(ETH_P_IPV6), 0) ? 0 : IP6_LEN - IP4_LEN;
	if (type == ETH_P_IP && o->ip6)
		return bpf_skb_change_proto(skb, bpf_htons(ETH_P_IP), 0) ? 0 : IP4_LEN - IP6_LEN;
	return 0;
}

/* Take the outer headers away: the inner frame is the frame. */
static __always_inline int strip_outer(struct __sk_buff *skb, const struct outer *o, __u32 flags6_3)
{
	__u32 least = o->ip6 ? IP6_LEN : IP4_LEN, inner_l3 = skb->len - o->len - ETH_LEN, type;
	__u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO;
	__s32 len = o->len;
	__u8 eth[ETH_LEN] HEADER;

	if (bpf_skb_load_bytes(skb, o->len, eth, ETH_LEN))
		return DROP_MALFORMED;
	type = get16(eth + 12);
	/* The kernel refuses to leave less than an outer IP header's length:
	 * pad short frames (ARP behind IPv6) as Ethernet itself would. */
	if (inner_l3 < least && bpf_skb_change_tail(skb, o->len + ETH_LEN + least, 0))
		return DROP_MALFORMED;
	if (flags6_3 && type == ETH_P_IP)
		flags |= BPF_F_ADJ_ROOM_DECAP_L3_IPV4;
	if (flags6_3 && type == ETH_P_IPV6)
		flags |= BPF_F_ADJ_ROOM_DECAP_L3_IPV6;
	if (!flags6_3)
		len += align_family(skb, o, type);
	if (bpf_skb_adjust_room(skb, -len, BPF_ADJ_ROOM_MAC, flags) ||
	    bpf_skb_store_bytes(skb, 0, eth, ETH_LEN, 0))
		return DROP_STORE;
	return 0;
}

static __always_inline int differ16(const __u8 *a, const __u8 *b)
{
	__u32 i, d = 0;

	for (i = 0; i < 16; i += 4)
		d |= *(const __be32 *)(a + i) ^ *(const __be32 *)(b + i);
	return d != 0;
}

/* Is the sender a chassis we know, and were we meant?  0 or a drop reason. */
static __always_inline int check_peer(const struct outer *o)
{
	const struct ovn_ref *chassis = bpf_map_lookup_elem(&ovn_peers, &o->from);
	const struct ovn_tunnel *t = chassis ? tunnel_to(chassis->slot) : NULL;

	/* A hash may answer for another key. */
	if (!t || differ16(o->from.addr, t->remote) || differ16(o->to, t->local))
		return DROP_TUN_SENDER;
	return 0;
}

/*
 * decap - take a Geneve packet out of its outer headers
 *
 * Returns 0 with s->tun_vni and s->tun_opt set, -1 when the packet is not for
 * us to take, or a drop reason.
 */
__noinline int decap(struct __sk_buff *skb, struct scratch *s)
{
	const struct ovn_ctl *ctl = control();
	struct outer o = {};
	int err;

	if (!s || !ctl)
		return DROP_BUG;
	if (!parse_outer(skb, &o, 6081))
		return -1;
	err = check_peer(&o);
	if (!err)
		err = parse_geneve(skb, s, &o);
	if (!err)
		err = strip_outer(skb, &o, ctl->decap_flags);
	return err;
}

/*
 * netdev_decap - the same where a collect-metadata netdev did the work
 */
__noinline int netdev_decap(struct __sk_buff *skb, struct scratch *s)
{
	struct bpf_tunnel_key key = {};
	struct geneve_opt opt = {};
	struct outer o = {};

	if (!s)
		return DROP_BUG;
	if (!bpf_skb_get_tunnel_key(skb, &key, sizeof(key), 0)) {
		o.from.addr[10] = o.from.addr[11] = o.to[10] = o.to[11] = 0xff;
		put32(o.from.addr + 12, key.remote_ipv4);
		put32(o.to + 12, key.local_ipv4);
	} else if (!bpf_skb_get_tunnel_key(skb, &key, sizeof(key), BPF_F_TUNINFO_IPV6)) {
		__builtin_memcpy(o.from.addr, key.remote_ipv6, 16);
		__builtin_memcpy(o.to, key.local_ipv6, 16);
	} else {
		return DROP_TUN_HEADER;
	}
	if (bpf_skb_get_tunnel_opt(skb, &opt, sizeof(opt)) != sizeof(opt) ||
	    opt.cls != bpf_htons(OVN_GENEVE_CLASS) || opt.type != OVN_GENEVE_TYPE ||
	    (opt.len & 31) != 1)
		return DROP_TUN_OPTION;
	s->tun_vni = key.tunnel_id;
	s->tun_opt = bpf_ntohl(opt.data);
	return check_peer(&o);
}

#endif
