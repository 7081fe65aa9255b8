/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The packet in hand as a tuple, the key of a connection.  What cannot be part of
 * any (ARP, ICMP that neither asks nor answers, port 0) is invalid, as OVS has it
 * (lib/conntrack.c, conn_key_extract).
 */
#ifndef OVN_BPF_CT_TUPLE_H
#define OVN_BPF_CT_TUPLE_H

#include "ct_maps.h"
#include "inner.h"
#include "scratch.h"

#define ICMP_ECHO_REPLY 0
#define ICMP_ECHO 8
#define ICMP_TIMESTAMP 13
#define ICMP_INFO 15
#define ICMP_INFO_REPLY 16
#define ICMP6_ECHO 128
#define ICMP6_ECHO_REPLY 129

/* The type that answers an ICMP type, or that it answers; -1: it is no question. */
static __always_inline int icmp_reverse(__u32 proto, __u32 type)
{
	if (proto == PROTO_ICMP6)
		return type == ICMP6_ECHO	  ? ICMP6_ECHO_REPLY
		       : type == ICMP6_ECHO_REPLY ? ICMP6_ECHO
						  : -1;
	if (type == ICMP_ECHO)
		return ICMP_ECHO_REPLY;
	if (type == ICMP_ECHO_REPLY)
		return ICMP_ECHO;
	if (type >= ICMP_TIMESTAMP && type <= ICMP_INFO_REPLY)
		return ((type - ICMP_TIMESTAMP) ^ 1) + ICMP_TIMESTAMP;
	return -1;
}

static __always_inline int is_icmp(__u32 proto)
{
	return proto == PROTO_ICMP || proto == PROTO_ICMP6;
}

static __always_inline int has_ports(__u32 proto)
{
	return proto == PROTO_TCP || proto == PROTO_UDP || proto == PROTO_SCTP;
}

static __always_inline int same_tuple(const struct ovn_ct_tuple *a, const struct ovn_ct_tuple *b)
{
	const __u32 *x = (const __u32 *)a, *y = (const __u32 *)b;
	__u32 i, other = 0;

	for (i = 0; i < sizeof(*a) / 4; i++)
		other |= x[i] ^ y[i];
	return !other;
}

/* The tuple that answers t. */
static __always_inline void reverse_tuple(struct ovn_ct_tuple *r, const struct ovn_ct_tuple *t)
{
	__builtin_memcpy(r->src, t->dst, 16);
	__builtin_memcpy(r->dst, t->src, 16);
	r->zone = t->zone;
	r->proto = t->proto;
	r->family = t->family;
	if (is_icmp(t->proto))
		r->ports = (t->ports & 0xffff00ff) |
			   (icmp_reverse(t->proto, t->ports >> 8 & 0xff) & 0xff) << 8;
	else
		r->ports = t->ports << 16 | t->ports >> 16;
}

static __always_inline void address_from(__u32 *to, const __u32 *w, __u32 ip6)
{
	to[0] = ip6 ? w[0] : 0;
	to[1] = ip6 ? w[1] : 0;
	to[2] = ip6 ? w[2] : 0xffff;
	to[3] = w[3];
}

static __always_inline void address_to(__u32 *w, const __u32 *from, __u32 ip6)
{
	w[0] = ip6 ? from[0] : 0;
	w[1] = ip6 ? from[1] : 0;
	w[2] = ip6 ? from[2] : 0;
	w[3] = from[3];
}

/* An ICMP error is about what it quotes: the key is that of an answer to it. */
static __always_inline int quoted_key(struct scratch *s, struct ovn_ct_tuple *k, __u32 ip6)
{
	const struct quoted *q = &s->cur.inner;
	__u32 i, other = 0;

	if (q->kind != QUOTE_GOOD)
		return 1;
	for (i = 0; i < 4; i++)
		other |= q->src[i] ^ s->cur.w[OW_IP_DST + i];
	if (other) /* sent to somebody else than whose packet it quotes */
		return 1;
	address_from(k->dst, q->src, ip6);
	address_from(k->src, q->dst, ip6);
	k->proto = q->proto;
	if (has_ports(q->proto))
		k->ports = q->ports << 16 | q->ports >> 16;
	else if (is_icmp(q->proto) && icmp_reverse(q->proto, q->ports >> 16) >= 0)
		k->ports = q->icmp_id << 16 | (icmp_reverse(q->proto, q->ports >> 16) & 0xff) << 8;
	else if (is_icmp(q->proto))
		return 1;
	s->ct.related = 1;
	s->ct.peek = 1;
	return 0;
}

/*
 * ct_key - s->ct.key of the packet in zone
 *
 * Returns 0, or 1 when there can be none: the packet is invalid.
 */
__noinline int ct_key(struct scratch *s, __u32 zone)
{
	struct ovn_ct_tuple *k;
	__u32 *w, type, ip6, proto, icmp;

	if (!s)
		return 1;
	w = s->cur.w;
	k = &s->ct.key;
	type = w[OW_ETH_TYPE] >> 16;
	proto = w[OW_IP] >> 24;
	ip6 = type == ETH_P_IPV6;
	s->ct.related = 0;
	s->ct.peek = s->trace || s->frag & OVN_FRAG_LATER;
	if ((type != ETH_P_IP && !ip6) || w[OW_IP] & OVN_FRAG_LATER)
		return 1;
	address_from(k->src, w + OW_IP_SRC, ip6);
	address_from(k->dst, w + OW_IP_DST, ip6);
	k->zone = zone;
	k->proto = proto;
	k->family = ip6 ? 6 : 4;
	k->ports = 0;
	if (has_ports(proto)) {
		k->ports = w[OW_L4_PORTS];
		return !(k->ports >> 16) || !(k->ports & 0xffff);
	}
	if (proto == (ip6 ? PROTO_ICMP6 : PROTO_ICMP)) {
		icmp = w[OW_L4_PORTS] >> 16;
		if (icmp_error(proto, icmp))
			return quoted_key(s, k, ip6);
		if (icmp_reverse(proto, icmp) < 0 || w[OW_L4_PORTS] & 0xff)
			return 1;
		k->ports = s->cur.icmp_id << 16 | (icmp & 0xff) << 8;
	}
	return 0;
}

#endif
