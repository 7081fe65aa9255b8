/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * From a packet's tuple to its connection, and what the packet does to it.  All
 * that happens under the connection's lock: it is the one it should be, or it is
 * none.
 */
#ifndef OVN_BPF_CT_FIND_H
#define OVN_BPF_CT_FIND_H

#include "ct_table.h"

/* A packet of a protocol without a state machine: OVS's conntrack-icmp.c and
 * conntrack-other.c, which it uses for UDP too. */
static __always_inline int other_update(struct ovn_conn *c, __u32 dir, int icmp, __u32 *timeout)
{
	struct ovn_ct_peer *p = &c->peer[0];

	if (dir)
		p->state = OVN_OTHERS_BIDIR;
	else if (p->state == OVN_OTHERS_FIRST && !icmp)
		p->state = OVN_OTHERS_MULTIPLE;
	if (p->state == OVN_OTHERS_BIDIR)
		*timeout = icmp ? OVN_CTT_ICMP_REPLY : OVN_CTT_UDP_MULTIPLE;
	else if (icmp)
		*timeout = OVN_CTT_ICMP_FIRST;
	else
		*timeout = p->state == OVN_OTHERS_FIRST ? OVN_CTT_UDP_FIRST : OVN_CTT_UDP_SINGLE;
	return p->state == OVN_OTHERS_BIDIR ? CT_VALID : CT_NEW;
}

/* What a packet is that changes nothing. */
static __always_inline int conn_state(const struct ovn_conn *c, __u32 dir)
{
	return dir || c->flags & OVN_CONN_SEEN_RPL ? CT_VALID : CT_NEW;
}

static __always_inline int conn_update(struct ovn_conn *c, const struct ct_work *t,
				       const struct ovn_ct_ctl *ctl, __u32 dir, __u64 now,
				       __u32 len)
{
	__u32 proto = c->tuple[0].proto, timeout = NO_TIMEOUT, flags = c->flags;
	__u16 was = c->peer[0].state << 8 | c->peer[1].state;
	int verdict;

	if (proto == PROTO_TCP)
		verdict = tcp_update(c, t, dir, ctl->loose, &timeout);
	else
		verdict = other_update(c, dir, is_icmp(proto), &timeout);
	if (verdict != CT_VALID && verdict != CT_NEW)
		return verdict;
	if (dir)
		flags |= OVN_CONN_SEEN_RPL;
	if (timeout == OVN_CTT_TCP_CLOSE || timeout == OVN_CTT_TCP_TIME_WAIT)
		flags |= OVN_CONN_CLOSING;
	if (flags != c->flags || was != (__u16)(c->peer[0].state << 8 | c->peer[1].state))
		c->epoch++;
	c->flags = flags;
	if (timeout < OVN_CTT_MAX) {
		c->timeout = timeout;
		c->expires = now + ctl->timeout[timeout];
	}
	c->used = now;
	c->packets[dir & 1]++;
	c->bytes[dir & 1] += len;
	return verdict;
}

/* What the rest of the tracker wants to know, while it is certain. */
static __always_inline void conn_copy(struct ct_work *t, const struct ovn_conn *c, __u32 dir)
{
	__u32 i;

	t->dir = dir;
	t->birth = c->birth;
	t->flags = c->flags;
	t->mark = c->mark;
	for (i = 0; i < 4; i++)
		t->label[i] = c->label[i];
	t->orig = c->tuple[0];
	t->opposite = c->tuple[(dir & 1) ^ 1];
	t->was[0] = c->peer[0];
	t->was[1] = c->peer[1];
}

/*
 * ct_find - the connection that s->ct.key is of
 *
 * len: bytes of the packet.  Returns enum ct_verdict; s->ct says the rest.
 */
__noinline int ct_find(const struct scratch *given, __u32 len)
{
	struct scratch *s = own(given);
	struct ovn_ct_ctl *ctl = array_at(&ovn_ct_ctl, 0);
	const struct ovn_ct_ref *ref;
	__u32 dir, gen, i, verdict = CT_DEAD;
	struct ovn_conn *c;
	struct ct_work *t;
	__u64 now;

	if (!s || !ctl)
		return CT_NONE;
	t = &s->ct;
	t->conn = 0;
	ref = bpf_map_lookup_elem(&ovn_ct_idx, &t->key);
	if (!ref)
		return CT_NONE;
	i = ref->conn;
	dir = ref->dir & 1;
	hide(dir);
	dir &= 1;
	c = i ? array_at(&ovn_conns, i) : NULL;
	if (!c)
		return CT_DEAD;
	gen = zone_gen(t->key.zone);
	now = ct_now();
	bpf_spin_lock(&c->lock);
	if (conn_lives(c, gen, now) && same_tuple(&c->tuple[dir], &t->key)) {
		if (t->peek || t->key.proto == PROTO_SCTP)
			verdict = conn_state(c, dir);
		else
			verdict = conn_update(c, t, ctl, dir, now, len);
		conn_copy(t, c, dir);
	}
	bpf_spin_unlock(&c->lock);
	if (verdict != CT_DEAD)
		t->conn = i;
	return verdict;
}

static __always_inline int same_peer(const struct ovn_ct_peer *a, const struct ovn_ct_peer *b)
{
	return a->seq_lo == b->seq_lo && a->max_win == b->max_win && a->wscale == b->wscale &&
	       a->state == b->state;
}

/*
 * ct_sctp - what an SCTP packet does to the association that it was found to be of
 *
 * Returns enum ct_verdict; CT_DEAD: another packet was quicker, look again.
 */
__noinline int ct_sctp(struct scratch *s, __u32 len)
{
	const struct ovn_ct_ctl *ctl = ct_control();
	__u32 dir, which, flags, verdict = CT_DEAD;
	struct ovn_conn *c;
	struct ct_work *t;
	__u64 now;

	if (!s || !ctl)
		return CT_INVALID;
	t = &s->ct;
	dir = t->dir & 1;
	hide(dir);
	dir &= 1;
	t->peer[0] = t->was[0];
	t->peer[1] = t->was[1];
	if (sctp_run(s, dir))
		return CT_INVALID;
	c = conn_at(t->conn);
	if (!c)
		return CT_DEAD;
	which = sctp_timeout(t->peer) % OVN_CTT_MAX;
	now = ct_now();
	bpf_spin_lock(&c->lock);
	if (c->birth == t->birth && c->flags & OVN_CONN_LIVE &&
	    same_peer(&c->peer[0], &t->was[0]) && same_peer(&c->peer[1], &t->was[1])) {
		verdict = conn_state(c, dir);
		flags = (c->flags & ~OVN_CONN_CLOSING) | (dir ? OVN_CONN_SEEN_RPL : 0);
		flags |= sctp_closing(t->peer, flags);
		if (flags != c->flags || c->peer[0].state != t->peer[0].state)
			c->epoch++;
		c->flags = flags;
		c->peer[0] = t->peer[0];
		c->peer[1] = t->peer[1];
		if (!t->passes) {
			c->timeout = which;
			c->expires = now + ctl->timeout[which];
		}
		c->used = now;
		c->packets[dir]++;
		c->bytes[dir] += len;
		t->flags = flags;
	}
	bpf_spin_unlock(&c->lock);
	return verdict;
}

/*
 * ct_again - what the packet's connection is now, that it was found to be of before
 *
 * Returns 1, or 0 when it is over.
 */
__noinline int ct_again(struct scratch *s)
{
	struct ovn_conn *c;
	__u32 gen, dir, ok;

	if (!s || !s->cur.ct.conn)
		return 0;
	c = conn_at(s->cur.ct.conn);
	if (!c)
		return 0;
	gen = zone_gen(s->cur.ct.zone);
	dir = s->cur.ct.dir & 1;
	bpf_spin_lock(&c->lock);
	ok = c->birth == s->cur.ct.birth && c->flags & OVN_CONN_LIVE && c->zone_gen == gen;
	if (ok)
		conn_copy(&s->ct, c, dir);
	bpf_spin_unlock(&c->lock);
	s->ct.conn = ok ? s->cur.ct.conn : 0;
	s->ct.related = s->cur.ct.flags & SEEN_RELATED;
	return ok;
}

#endif
