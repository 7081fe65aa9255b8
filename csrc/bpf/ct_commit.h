/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * New connections, and what actions write into them.
 */
#ifndef OVN_BPF_CT_COMMIT_H
#define OVN_BPF_CT_COMMIT_H

#include "ct_find.h"
#include "ct_nat.h"

/* May this packet begin a connection?  OVS's valid_new(). */
static __always_inline int may_begin(struct scratch *s)
{
	const struct ct_work *t = &s->ct;
	__u32 type = t->key.ports >> 8 & 0xff;

	if (t->related)
		return 0;
	if (t->key.proto == PROTO_TCP)
		return tcp_may_begin(t->tcp_flags);
	if (t->key.proto == PROTO_SCTP)
		return sctp_begin(s);
	if (t->key.proto == PROTO_ICMP)
		return type == ICMP_ECHO || type == ICMP_TIMESTAMP || type == ICMP_INFO;
	if (t->key.proto == PROTO_ICMP6)
		return type == ICMP6_ECHO;
	return 1;
}

/* Everything but the index.  Until it is LIVE nobody else touches it. */
static __always_inline void conn_begin(struct ovn_conn *c, const struct ct_work *t,
				       const struct ovn_ct_ctl *ctl, __u32 gen, __u64 now,
				       __u32 len, __u32 flags)
{
	__u32 i, proto = t->key.proto;

	c->flags = flags;
	c->birth++;
	c->epoch++;
	c->zone_gen = gen;
	c->tuple[0] = t->key;
	reverse_tuple(&c->tuple[1], &t->key);
	c->mark = 0;
	for (i = 0; i < 4; i++)
		c->label[i] = 0;
	c->peer[0].state = OVN_OTHERS_FIRST;
	c->peer[1].state = 0;
	c->timeout = proto == PROTO_TCP ? OVN_CTT_TCP_SYN_SENT
		     : is_icmp(proto)	? OVN_CTT_ICMP_FIRST
					: OVN_CTT_UDP_FIRST;
	if (proto == PROTO_TCP) {
		tcp_begin(c, t);
	} else if (proto == PROTO_SCTP) {
		c->peer[0] = t->peer[0];
		c->peer[1] = t->peer[1];
		c->timeout = sctp_timeout(t->peer);
	}
	c->used = now;
	c->expires = now + ctl->timeout[c->timeout % OVN_CTT_MAX];
	c->packets[0] = 1;
	c->bytes[0] = len;
	c->packets[1] = 0;
	c->bytes[1] = 0;
}

/* ct_abandon - give back what a connection that did not come about had */
__noinline int ct_abandon(__u32 i)
{
	struct ovn_conn *c = conn_at(i);

	if (!c)
		return 0;
	bpf_spin_lock(&c->lock);
	c->flags = (c->flags & ~OVN_CONN_BORN) | OVN_CONN_DYING;
	c->expires = ~0ull;
	bpf_spin_unlock(&c->lock);
	ct_bury(c, i);
	return 0;
}

/*
 * ct_take - an element of ovn_conns with the packet's connection in it
 *
 * Returns its index, or 0 when there is no room.  It is BORN, not yet LIVE.
 */
__noinline int ct_take(struct scratch *s, __u32 len, __u32 flags)
{
	const struct ovn_ct_ctl *ctl = ct_control();
	const struct ovn_ct_zone *z;
	struct ovn_conn *c;
	__u32 i, gen;
	__u64 now = ct_now();

	if (!s || !ctl)
		return 0;
	z = array_at(&ovn_ct_zones, s->ct.key.zone);
	if (!z)
		return 0;
	if (z->limit && z->count[z->gen & 1] >= (__s32)z->limit) {
		ct_count(OVN_CTC_LIMIT);
		return 0;
	}
	gen = z->gen;
	i = ct_alloc(s);
	c = i ? conn_at(i) : NULL;
	if (!c)
		return 0;
	bpf_spin_lock(&c->lock);
	conn_begin(c, &s->ct, ctl, gen, now, len, flags);
	bpf_spin_unlock(&c->lock);
	return i;
}

/* The packet's connection, translated as action says.  Returns 0 or a drop reason;
 * DROP_CT_RACE: another packet made it just now. */
static __always_inline int ct_create(struct scratch *s, __u32 len, __u32 action)
{
	__u32 i, flags = OVN_CONN_BORN;
	struct ovn_conn *c;
	struct ovn_ct_zone *z;
	int err;

	flags |= action & (OVN_CT_SRC | OVN_CT_NULL_SNAT) ? OVN_CONN_SNAT : 0;
	flags |= action & OVN_CT_DST ? OVN_CONN_DNAT : 0;
	i = ct_take(s, len, flags);
	c = i ? conn_at(i) : NULL;
	if (!c)
		return DROP_CT_FULL;
	if (ct_enter(i, OVN_CT_ORIG)) {
		ct_abandon(i);
		return DROP_CT_RACE;
	}
	if (action & (OVN_CT_SRC | OVN_CT_DST | OVN_CT_NULL_SNAT))
		err = nat_choose(s, i, action);
	else
		err = ct_enter(i, OVN_CT_REPLY);
	if (err) {
		ct_count(OVN_CTC_NAT_EXHAUST);
		ct_abandon(i);
		return DROP_CT_NAT;
	}
	z = array_at(&ovn_ct_zones, c->tuple[0].zone);
	if (z)
		__sync_fetch_and_add(&z->count[c->zone_gen & 1], 1);
	bpf_spin_lock(&c->lock);
	c->flags = (c->flags & ~OVN_CONN_BORN) | OVN_CONN_LIVE | OVN_CONN_COUNTED;
	conn_copy(&s->ct, c, OVN_CT_ORIG);
	bpf_spin_unlock(&c->lock);
	s->ct.conn = i;
	ct_count(OVN_CTC_CREATED);
	return 0;
}

/*
 * ct_write - the mark and label in the packet's words become the connection's
 */
__noinline int ct_write(struct scratch *s)
{
	struct ovn_conn *c;
	__u32 *w, i;

	if (!s)
		return 0;
	c = conn_at(s->ct.conn);
	if (!c)
		return 0;
	w = s->cur.w;
	bpf_spin_lock(&c->lock);
	if (c->birth == s->ct.birth && c->flags & OVN_CONN_LIVE) {
		c->epoch++;
		c->mark = w[OW_CT_MARK];
		for (i = 0; i < 4; i++)
			c->label[i] = w[OW_CT_LABEL + i];
	}
	bpf_spin_unlock(&c->lock);
	return 0;
}

#endif
