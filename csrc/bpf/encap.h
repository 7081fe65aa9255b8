/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Sending to another chassis: Geneve with OVN's option (ovn-architecture(7),
 * "Tunnel Encapsulations"), written into the frame itself or left to a
 * collect-metadata netdev.  Encapsulation cannot be undone, so this comes after
 * all local work; a second chassis only gets other outer headers.
 *
 * The outer UDP checksum is 0: over IPv4 that is always allowed, over IPv6 RFC
 * 6935 allows it for tunnels and OVS's and our receivers take it.
 */
#ifndef OVN_BPF_ENCAP_H
#define OVN_BPF_ENCAP_H

#include "ports.h"
#include "store.h"
#include "toobig.h"
#include "trace.h"
#include "witness.h"

#define GENEVE_LEN 16 /* base header and OVN's option */
#define OUTER4 (ETH_LEN + IP4_LEN + UDP_LEN + GENEVE_LEN)
#define OUTER6 (ETH_LEN + IP6_LEN + UDP_LEN + GENEVE_LEN)

#define ENCAP_L2(len) (((__u64)(len)&0xff) << 56) /* BPF_F_ADJ_ROOM_ENCAP_L2 */
#define ENCAP_L2_ETH (1ULL << 6)		  /* kernel 5.13 */

/* Inner frame length of the longest segment of this one. */
static __always_inline __u32 segment_len(struct __sk_buff *skb, const struct scratch *s)
{
	__u32 l4_len = UDP_LEN;
	__u8 doff;

	if (s->cur.reply && s->cur.reply != s->wire_reply)
		return 0; /* not made yet; it will be as long as fits anywhere */
	if (s->trace)
		return s->trace_len;
	if (s->wire_reply && !s->cur.reply)
		return s->orig_len; /* the frame that came is put aside */
	if (!skb->gso_size)
		return skb->len - s->off;
	if (s->wire[OW_IP - OW_HEADERS] >> 24 == PROTO_TCP &&
	    !bpf_skb_load_bytes(skb, s->off + s->l4 + 12, &doff, 1))
		l4_len = (doff >> 4) * 4;
	return s->l4 + l4_len + skb->gso_size;
}

#define EALREADY 114

/* The same for a frame that came through a tunnel and remembers: what the flags
 * would note is noted already, but not that the outer protocol is another now.
 * From 6.3 on taking room away notes it; before, only a frame that nobody will
 * segment may go, to a next hop that is known. */
static __always_inline int make_room_again(struct __sk_buff *skb, __u32 outer, int ip6, int same,
					   const struct ovn_tunnel *t)
{
	__u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO;
	const struct ovn_ctl *ctl = control();

	if (same || (!skb->gso_size && t->flags & OVN_TUN_MAC))
		return bpf_skb_adjust_room(skb, outer, BPF_ADJ_ROOM_MAC, flags);
	if (!ctl || !ctl->decap_flags ||
	    bpf_skb_adjust_room(skb, outer + IP6_LEN, BPF_ADJ_ROOM_MAC, flags))
		return -1;
	flags |= ip6 ? BPF_F_ADJ_ROOM_DECAP_L3_IPV6 : BPF_F_ADJ_ROOM_DECAP_L3_IPV4;
	return bpf_skb_adjust_room(skb, -IP6_LEN, BPF_ADJ_ROOM_MAC, flags);
}

/* make_room - for the outer headers, in front of the inner Ethernet header */
__noinline int make_room(struct __sk_buff *skb, struct scratch *s, __u32 outer,
			 const struct ovn_tunnel *t)
{
	__u32 type, ip6;
	__u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_ENCAP_L4_UDP | ENCAP_L2_ETH |
		      ENCAP_L2(ETH_LEN);
	__u8 *eth;
	long err;

	if (!s || !t)
		return -1;
	eth = s->buf.bytes;
	type = s->wire[OW_ETH_TYPE - OW_HEADERS] >> 16;
	ip6 = t->flags & OVN_TUN_IPV6;
	if (type != ETH_P_IP && type != ETH_P_IPV6)
		return bpf_skb_change_head(skb, outer, 0) ? -1 : 0;
	flags |= ip6 ? BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 : BPF_F_ADJ_ROOM_ENCAP_L3_IPV4;
	/* The room opens behind the old Ethernet header, which becomes the
	 * outer one; its copy goes to the end of the room. */
	if (bpf_skb_load_bytes(skb, 0, eth, ETH_LEN))
		return -1;
	err = bpf_skb_adjust_room(skb, outer, BPF_ADJ_ROOM_MAC, flags);
	if (err == -EALREADY)
		err = make_room_again(skb, outer, ip6, !!ip6 == (type == ETH_P_IPV6), t);
	return err || bpf_skb_store_bytes(skb, outer, eth, ETH_LEN, 0) ? -1 : 0;
}

static __always_inline void put_udp_geneve(__u8 *p, const struct scratch *s,
					   const struct ovn_tunnel *t, __u32 len, __u32 hash)
{
	put16(p, 32768 + (hash & 0x7fff)); /* entropy for the underlay's ECMP */
	put16(p + 2, t->dst_port);
	put16(p + 4, len);
	put16(p + 6, 0);
	p += UDP_LEN;
	p[0] = 2;    /* version 0, two words of options */
	p[1] = 0x40; /* critical options present */
	put16(p + 2, ETH_P_TEB);
	put32(p + 4, s->cur.w[OW_DP] << 8);
	put16(p + 8, OVN_GENEVE_CLASS);
	p[10] = OVN_GENEVE_TYPE;
	p[11] = 1;
	put32(p + 12, (s->cur.w[OW_INPORT] & 0x7fff) << 16 | (s->cur.w[OW_OUTPORT] & 0xffff));
}

static __always_inline void copy16(__u8 *to, const __u8 *from)
{
	__builtin_memcpy(__builtin_assume_aligned(to, 4), __builtin_assume_aligned(from, 4), 16);
}

/*
 * put_outer - write the outer headers; the room is there
 *
 * By itself, as make_room(): the verifier would go on with it from each end of that.
 */
__noinline int put_outer(struct __sk_buff *skb, struct scratch *s, const struct ovn_tunnel *t,
			 __u32 hash)
{
	__u8 *f, *ip;
	__u32 len, i;

	if (!s || !t)
		return -1;
	f = s->buf.bytes + 2; /* +2: ip is aligned */
	ip = f + ETH_LEN;
	len = skb->len - ETH_LEN;
	for (i = 0; i < 6; i++) {
		f[i] = t->dst_mac[i];
		f[6 + i] = t->src_mac[i];
	}
	if (t->flags & OVN_TUN_IPV6) {
		put16(f + 12, ETH_P_IPV6);
		put32(ip, 6u << 28 | (__u32)t->tos << 20);
		put16(ip + 4, len - IP6_LEN);
		ip[6] = PROTO_UDP;
		ip[7] = t->ttl;
		copy16(ip + 8, t->local);
		copy16(ip + 24, t->remote);
		put_udp_geneve(ip + IP6_LEN, s, t, len - IP6_LEN, hash);
		return bpf_skb_store_bytes(skb, 0, f, OUTER6, 0);
	}
	put16(f + 12, ETH_P_IP);
	ip[0] = 0x45;
	ip[1] = t->tos;
	put16(ip + 2, len);
	put16(ip + 4, t->flags & OVN_TUN_DF ? 0 : bpf_get_prandom_u32());
	put16(ip + 6, t->flags & OVN_TUN_DF ? 0x4000 : 0);
	ip[8] = t->ttl;
	ip[9] = PROTO_UDP;
	put16(ip + 10, 0);
	put32(ip + 12, get32(t->local + 12));
	put32(ip + 16, get32(t->remote + 12));
	*(__u16 *)(ip + 10) = csum_fold(bpf_csum_diff(NULL, 0, (__be32 *)ip, IP4_LEN, 0));
	put_udp_geneve(ip + IP4_LEN, s, t, len - IP4_LEN, hash);
	return bpf_skb_store_bytes(skb, 0, f, OUTER4, 0);
}

/* Inline: the frame becomes a Geneve packet on the underlay device.  Not inlined
 * itself, so that too_big() does not nest in its stack frame: 6.1 counts each
 * frame in units of 32 bytes. */
static __noinline int send_inline(struct __sk_buff *skb, struct scratch *s,
				  const struct ovn_tunnel *t, int last)
{
	int ip6 = !!(t->flags & OVN_TUN_IPV6), inner_ip;
	__u32 outer = ip6 ? OUTER6 : OUTER4, hash, type;

	type = s->wire[OW_ETH_TYPE - OW_HEADERS] >> 16;
	inner_ip = type == ETH_P_IP || type == ETH_P_IPV6;
	if (s->wire[OW_ETH_TYPE - OW_HEADERS] & VLAN_PRESENT)
		return DROP_TUN_ENCAP; /* the tag would end on the outer frame */
	hash = bpf_get_hash_recalc(skb);
	if (!s->outer) {
		if (make_room(skb, s, outer, t))
			return DROP_TUN_ENCAP;
		s->outer = outer;
		s->off = outer;
	} else if (s->outer != outer) {
		return DROP_TUN_ENCAP; /* copies over IPv4 and IPv6 do not mix */
	}
	if (put_outer(skb, s, t, hash))
		return DROP_TUN_ENCAP;
	if (t->flags & OVN_TUN_MAC) {
		if (last)
			s->verdict = bpf_redirect(t->ifindex, 0);
		else if (bpf_clone_redirect(skb, t->ifindex, 0))
			return DROP_REDIRECT;
		return 0;
	}
	/* The kernel resolves the next hop by itself, but only for a frame that
	 * it takes for IP, and only for the last copy. */
	if (!last || !inner_ip)
		return DROP_TUN_NEIGH;
	s->verdict = bpf_redirect_neigh(t->ifindex, NULL, 0, 0);
	return 0;
}

/* Through a collect-metadata netdev: the kernel writes the outer headers. */
static __always_inline int send_netdev(struct __sk_buff *skb, struct scratch *s,
				       const struct ovn_tunnel *t, __u32 ifindex, int last)
{
	struct bpf_tunnel_key *key = &s->buf.key;
	struct geneve_opt *opt = &s->buf.opt;
	__u64 flags = t->flags & OVN_TUN_CSUM ? 0 : BPF_F_ZERO_CSUM_TX;

	__builtin_memset(key, 0, sizeof(*key));
	key->tunnel_id = s->cur.w[OW_DP];
	key->tunnel_tos = t->tos;
	key->tunnel_ttl = t->ttl;
	if (t->flags & OVN_TUN_IPV6) {
		flags |= BPF_F_TUNINFO_IPV6;
		__builtin_memcpy(key->remote_ipv6, t->remote, 16);
	} else {
		key->remote_ipv4 = get32(t->remote + 12);
		if (t->flags & OVN_TUN_DF)
			flags |= BPF_F_DONT_FRAGMENT;
	}
	if (bpf_skb_set_tunnel_key(skb, key, sizeof(*key), flags))
		return DROP_TUN_ENCAP;
	opt->cls = bpf_htons(OVN_GENEVE_CLASS);
	opt->type = OVN_GENEVE_TYPE;
	opt->len = 1;
	opt->data =
		bpf_htonl((s->cur.w[OW_INPORT] & 0x7fff) << 16 | (s->cur.w[OW_OUTPORT] & 0xffff));
	if (bpf_skb_set_tunnel_opt(skb, opt, sizeof(*opt)))
		return DROP_TUN_ENCAP;
	if (last)
		s->verdict = bpf_redirect(ifindex, 0);
	else if (bpf_clone_redirect(skb, ifindex, 0))
		return DROP_REDIRECT;
	return 0;
}

/*
 * send_remote - send the context's packet to another chassis
 *
 * chassis: index in ovn_chassis.  last: nobody needs the frame after this.
 * Returns 0 or a drop reason.
 */
__noinline int send_remote(struct __sk_buff *skb, struct scratch *s, __u32 chassis, __u32 last)
{
	const struct ovn_tunnel *t = tunnel_to(chassis);
	const struct ovn_ctl *ctl = control();
	__u32 room, err;

	if (!s || !ctl)
		return DROP_BUG;
	if (s->trace)
		return trace_event(s, TRACE_REMOTE, chassis, 0);
	if (!t)
		return DROP_TUN_PEER;
	/* Of the outer IP packet, what is left for the inner frame. */
	room = t->mtu - ((t->flags & OVN_TUN_IPV6 ? OUTER6 : OUTER4) - ETH_LEN);
	if (segment_len(skb, s) > room) {
		if (!last || too_big(s, room - ETH_LEN) || store(skb, s))
			return DROP_TOO_BIG_QUIET;
		s->verdict = bpf_redirect(s->in_ifindex, 0);
		return DROP_TOO_BIG;
	}
	err = store(skb, s);
	if (err)
		return err;
	if (s->watched)
		witness(skb, s, OVN_SEEN_REMOTE, chassis);
	if (ctl->tunnel_mode == OVN_TUNNEL_NETDEV)
		return send_netdev(skb, s, t, ctl->tunnel_ifindex, last);
	return send_inline(skb, s, t, last);
}

#endif
