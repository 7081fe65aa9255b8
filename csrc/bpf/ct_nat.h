/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Translation: which tuple answers a new connection, and the words of a packet of
 * a translated one.  Choice of ports as OVS's nat_get_unique_tuple() has it.
 */
#ifndef OVN_BPF_CT_NAT_H
#define OVN_BPF_CT_NAT_H

#include "ct_table.h"
#include "select.h"

#define NAT_TRIES 256	 /* ports, for one connection */
#define NAT_IN_ORDER 128 /* of these, before it jumps to random places */

static __always_inline void set_reply_port(struct ovn_conn *c, const struct nat_search *n)
{
	__u32 *ports = &c->tuple[1].ports, at = n->at & 0xffff;

	/* The source port of the connection is the destination port of its reply. */
	if (n->icmp || n->dst)
		*ports = (*ports & 0xffff) | at << 16;
	else
		*ports = (*ports & 0xffff0000) | at;
}

static long nat_try(__u32 i, struct scratch **s)
{
	struct nat_search *n = &(*s)->nat;
	struct ovn_conn *c = conn_at(n->conn);

	if (!c)
		return 1;
	set_reply_port(c, n);
	if (!ct_enter(n->conn, OVN_CT_REPLY)) {
		n->found = 1;
		return 1;
	}
	if (n->at < n->least || n->at >= n->most)
		n->at = n->least;
	else
		n->at++;
	if (i >= NAT_IN_ORDER && !(i & 31))
		n->at = n->least +
			(__u32)((__u64)bpf_get_prandom_u32() * (n->most - n->least + 1) >> 32);
	return 0;
}

static __always_inline void nat_run(const struct nat_search *n, struct scratch *s)
{
	__u32 size = n->most - n->least + 1, out = n->at < n->least || n->at > n->most;

	bpf_loop(size + out < NAT_TRIES ? size + out : NAT_TRIES, nat_try, &s, 0);
}

/* Where in a range of ports to begin; the same for all packets of one kind. */
static __always_inline __u32 nat_offset(const struct ovn_ct_tuple *k, __u32 action)
{
	__u32 h;

	if (action & OVN_CT_RANDOM)
		return bpf_get_prandom_u32();
	h = hash_words(0, k->src, 4);
	h = hash_words(h, k->dst, 4);
	h = hash_mix(h, k->ports);
	h = hash_mix(h, (__u32)k->proto << 16 | k->zone);
	h ^= h >> 16;
	h *= 0x85ebca6b;
	return h ^ h >> 13;
}

/*
 * nat_choose - give connection i a reply tuple that is nobody else's, and enter it
 *
 * action: enum ovn_ct_action; address and ports are in words OW_ARG_IP and
 * OW_ARG_PORT.  Returns 0, or 1 when there is none.
 */
__noinline int nat_choose(struct scratch *s, __u32 i, __u32 action)
{
	struct ovn_conn *c = conn_at(i);
	struct nat_search *n;
	__u32 *w, range, least, most, sport, proto;

	if (!s || !c)
		return 1;
	w = s->cur.w;
	n = &s->nat;
	n->conn = i;
	n->found = 0;
	n->dst = 0;
	proto = s->ct.key.proto;
	if (action & OVN_CT_SRC)
		__builtin_memcpy(c->tuple[1].dst, w + OW_ARG_IP, 16);
	else if (action & OVN_CT_DST)
		__builtin_memcpy(c->tuple[1].src, w + OW_ARG_IP, 16);
	if (!has_ports(proto) && !is_icmp(proto))
		return ct_enter(i, OVN_CT_REPLY);

	range = action & OVN_CT_NULL_SNAT ? 0 : w[OW_ARG_PORT];
	least = range >> 16;
	most = range & 0xffff;
	if (most < least)
		most = least;
	n->icmp = is_icmp(proto);
	sport = s->ct.key.ports >> 16;
	if (most && !n->icmp && action & (OVN_CT_SRC | OVN_CT_DST)) {
		n->dst = !!(action & OVN_CT_DST);
		n->least = least;
		n->most = most;
		n->at = least + nat_offset(&s->ct.key, action) % (most - least + 1);
		nat_run(n, s);
		if (n->found || !n->dst)
			return !n->found;
		n->at = least;
		set_reply_port(c, n);
	}
	n->dst = 0;
	n->at = sport;
	n->least = sport < 512 ? 1 : sport < 1024 ? 600 : 1024;
	n->most = sport < 512 ? 511 : sport < 1024 ? 1023 : 65535;
	nat_run(n, s);
	return !n->found;
}

/* The quotation of an error becomes what its sender had sent. */
static __always_inline void nat_quoted(struct scratch *s)
{
	const struct ovn_ct_tuple *o = &s->ct.opposite;
	struct quoted *q = &s->cur.inner;
	__u32 ip6 = o->family == 6;

	address_to(q->src, o->src, ip6);
	address_to(q->dst, o->dst, ip6);
	if (has_ports(o->proto))
		q->ports = o->ports;
	else if (is_icmp(o->proto))
		q->icmp_id = o->ports >> 16;
}

/*
 * nat_packet - translate the packet as s->ct's connection has it
 *
 * It becomes what s->ct.opposite answers.  Returns the bits of ct_state.
 */
__noinline int nat_packet(struct scratch *s)
{
	const struct ovn_ct_tuple *o;
	__u32 *w, src, dst, ip6;

	if (!s)
		return 0;
	w = s->cur.w;
	o = &s->ct.opposite;
	src = s->ct.flags & (s->ct.dir ? OVN_CONN_DNAT : OVN_CONN_SNAT);
	dst = s->ct.flags & (s->ct.dir ? OVN_CONN_SNAT : OVN_CONN_DNAT);
	ip6 = o->family == 6;
	if (src)
		address_to(w + OW_IP_SRC, o->dst, ip6);
	if (dst)
		address_to(w + OW_IP_DST, o->src, ip6);
	if (!src && !dst)
		return 0;
	if (s->ct.related)
		nat_quoted(s);
	else if (has_ports(o->proto))
		w[OW_L4_PORTS] = o->ports << 16 | o->ports >> 16;
	else if (is_icmp(o->proto))
		s->cur.icmp_id = o->ports >> 16;
	return src ? OVN_CS_SNAT : OVN_CS_DNAT;
}

#endif
