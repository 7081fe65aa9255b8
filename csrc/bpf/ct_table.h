/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The table of connections: finding one, making room for one, entering it in the
 * index, ending it.  See struct ovn_conn for who owns an element when.
 */
#ifndef OVN_BPF_CT_TABLE_H
#define OVN_BPF_CT_TABLE_H

#include "ct_sctp.h"

#define CT_TRIES 4     /* of an index update that meets what is to go */
#define CT_SAMPLE 32   /* connections looked at for one that may go */
#define CT_SEARCH 1024 /* the same when all of those are established */

/* OVS's userspace defaults, of SCTP the kernel's; what the agent has set stays. */
static __always_inline void default_timeout(struct ovn_ct_ctl *ctl, __u32 which, __u32 seconds)
{
	if (!ctl->timeout[which])
		ctl->timeout[which] = seconds * 1000;
}

__noinline int ct_defaults(struct ovn_ct_ctl *ctl)
{
	if (!ctl)
		return 0;
	default_timeout(ctl, OVN_CTT_TCP_SYN_SENT, 30);
	default_timeout(ctl, OVN_CTT_TCP_SYN_RECV, 30);
	default_timeout(ctl, OVN_CTT_TCP_ESTABLISHED, 24 * 60 * 60);
	default_timeout(ctl, OVN_CTT_TCP_FIN_WAIT, 15 * 60);
	default_timeout(ctl, OVN_CTT_TCP_TIME_WAIT, 45);
	default_timeout(ctl, OVN_CTT_TCP_CLOSE, 30);
	default_timeout(ctl, OVN_CTT_UDP_FIRST, 60);
	default_timeout(ctl, OVN_CTT_UDP_SINGLE, 60);
	default_timeout(ctl, OVN_CTT_UDP_MULTIPLE, 30);
	default_timeout(ctl, OVN_CTT_ICMP_FIRST, 60);
	default_timeout(ctl, OVN_CTT_ICMP_REPLY, 30);
	if (!ctl->timeout[OVN_CTT_SCTP_CLOSED]) { /* all of them, or none */
		ctl->timeout[OVN_CTT_SCTP_CLOSED] = 10000;
		ctl->timeout[OVN_CTT_SCTP_COOKIE_WAIT] = 3000;
		ctl->timeout[OVN_CTT_SCTP_COOKIE_ECHOED] = 3000;
		ctl->timeout[OVN_CTT_SCTP_ESTABLISHED] = 210000;
		ctl->timeout[OVN_CTT_SCTP_SHUTDOWN_SENT] = 3000;
		ctl->timeout[OVN_CTT_SCTP_SHUTDOWN_RECD] = 3000;
		ctl->timeout[OVN_CTT_SCTP_SHUTDOWN_ACK_SENT] = 3000;
		ctl->timeout[OVN_CTT_SCTP_HEARTBEAT_SENT] = 30000;
	}
	ctl->ready = 1;
	return 0;
}

static __always_inline __u32 zone_gen(__u32 zone)
{
	const struct ovn_ct_zone *z = array_at(&ovn_ct_zones, zone);

	return z ? z->gen : 0;
}

/* To be asked under the lock; the answer may be old otherwise. */
static __always_inline int conn_lives(const struct ovn_conn *c, __u32 gen, __u64 now)
{
	return c->flags & OVN_CONN_LIVE && c->zone_gen == gen && c->expires > now;
}

/* Take a tuple out of the index.  Returns 0, or 1 if that has to be tried again. */
static __always_inline int ct_leave(struct ovn_conn *c, __u32 dir)
{
	int err; /* 6.1 leaves the upper half of the register undefined */

	if (!(c->flags & OVN_CONN_INDEXED << dir)) /* another's, perhaps */
		return 0;
	err = bpf_map_delete_elem(&ovn_ct_idx, &c->tuple[dir]);
	if (err && err != -2) /* ENOENT */
		return 1;
	c->flags &= ~(OVN_CONN_INDEXED << dir);
	return 0;
}

/* What is left of a DYING connection goes, by its owner's hand. */
static __always_inline void ct_bury(struct ovn_conn *c, __u32 i)
{
	struct ovn_ct_zone *z;

	if (ct_leave(c, 0) || ct_leave(c, 1)) {
		/* An index bucket is being changed below us: the timer tries again. */
		ct_counted(OVN_CTC_BUSY);
		c->expires = ct_now() + 1000;
		return;
	}
	if (c->flags & OVN_CONN_COUNTED) {
		z = array_at(&ovn_ct_zones, c->tuple[0].zone);
		if (z)
			__sync_fetch_and_add(&z->count[c->zone_gen & 1], -1);
	}
	c->flags = 0;
	if (bpf_map_push_elem(&ovn_ct_free, &i, 0)) {
		c->expires = ct_now() + 1000;
		c->flags = OVN_CONN_DYING;
	}
}

/*
 * ct_end - end connection i if it still is the one born as `birth`
 *
 * counter: why, enum ovn_ct_counter.  Returns 1 when this ended it.
 */
__noinline int ct_end(__u32 i, __u32 birth, __u32 counter)
{
	struct ovn_conn *c = conn_at(i);
	int mine;

	if (!c)
		return 0;
	bpf_spin_lock(&c->lock);
	mine = c->birth == birth && (c->flags & OVN_CONN_LIVE) && !(c->flags & OVN_CONN_BORN);
	if (mine) {
		c->flags = (c->flags & ~OVN_CONN_LIVE) | OVN_CONN_DYING;
		c->expires = ~0ull;
		c->epoch++;
	}
	bpf_spin_unlock(&c->lock);
	if (!mine)
		return 0;
	ct_counted(counter);
	ct_bury(c, i);
	return 1;
}

/*
 * ct_reap - end connection i if nothing can find it any more
 */
__noinline int ct_reap(__u32 i, __u64 now)
{
	struct ovn_conn *c = array_at(&ovn_conns, i);
	__u32 flags, gen, ended = 0;

	if (!c)
		return 0;
	flags = c->flags;
	if (flags & OVN_CONN_BORN || !(flags & (OVN_CONN_LIVE | OVN_CONN_DYING)))
		return 0;
	gen = zone_gen(c->tuple[0].zone);
	if (flags & OVN_CONN_LIVE ? conn_lives(c, gen, now) : c->expires > now)
		return 0;
	bpf_spin_lock(&c->lock);
	flags = c->flags;
	if (!(flags & OVN_CONN_BORN) && ((flags & OVN_CONN_LIVE && !conn_lives(c, gen, now)) ||
					 (flags & OVN_CONN_DYING && c->expires <= now))) {
		c->flags = (flags & ~OVN_CONN_LIVE) | OVN_CONN_DYING;
		c->expires = ~0ull;
		c->epoch++;
		ended = 1;
	}
	bpf_spin_unlock(&c->lock);
	if (!ended)
		return 0;
	if (flags & OVN_CONN_LIVE)
		ct_counted(OVN_CTC_EXPIRED);
	ct_bury(c, i);
	return 1;
}

/*
 * ct_enter - put tuple dir of connection i into the index
 *
 * Returns 0, or 1 when the tuple is another connection's, or 2 when the index
 * would not take it.
 */
__noinline int ct_enter(__u32 i, __u32 dir)
{
	struct ovn_ct_ref ref = { .conn = i, .dir = dir }, *found;
	struct ovn_conn *c = conn_at(i), *other;
	__u64 now = ct_now();
	__u32 try, at;
	int err;

	if (!c)
		return 2;
	ROLLED
	for (try = 0; try < CT_TRIES; try++) {
		err = bpf_map_update_elem(&ovn_ct_idx, &c->tuple[dir & 1], &ref, BPF_NOEXIST);
		if (!err) {
			c->flags |= OVN_CONN_INDEXED << (dir & 1);
			return 0;
		}
		if (err != -17) { /* EEXIST */
			ct_counted(OVN_CTC_BUSY);
			continue;
		}
		found = bpf_map_lookup_elem(&ovn_ct_idx, &c->tuple[dir & 1]);
		if (!found)
			continue;
		at = found->conn;
		if (at == i) /* a packet to its own sender: both tuples are one */
			return 0;
		other = conn_at(at);
		if (!other)
			return 1;
		if (ct_reap(at, now))
			continue;
		if (other->flags & (OVN_CONN_LIVE | OVN_CONN_BORN))
			return 1;
	}
	return 2;
}

static long ct_sample(__u32 n, struct scratch **s)
{
	struct ct_victim *v = &(*s)->victim;
	struct ovn_conn *c;
	__u32 i, class;

	i = 1 + (__u32)((__u64)bpf_get_prandom_u32() * v->high >> 32);
	c = conn_at(i);
	if (!c)
		return 0;
	if (n >= CT_SAMPLE && v->class && v->class < OVN_CTC_EVICTED_ESTABLISHED)
		return 1;
	if (!(c->flags & OVN_CONN_LIVE) || c->flags & OVN_CONN_BORN)
		return 0;
	class = !conn_lives(c, zone_gen(c->tuple[0].zone), v->now) ? OVN_CTC_EXPIRED
		: c->flags & OVN_CONN_CLOSING			   ? OVN_CTC_EVICTED_CLOSING
		: !(c->flags & OVN_CONN_SEEN_RPL)		   ? OVN_CTC_EVICTED_UNREPLIED
								   : OVN_CTC_EVICTED_ESTABLISHED;
	if (!v->class || class < v->class || (class == v->class && c->used < v->used)) {
		v->class = class;
		v->conn = i;
		v->birth = c->birth;
		v->used = c->used;
	}
	return class == OVN_CTC_EXPIRED;
}

/* End the connection that is missed least, roughly. */
static __always_inline int ct_make_room(struct scratch *s, const struct ovn_ct_ctl *ctl)
{
	if (!ctl->high)
		return 0;
	s->victim.high = ctl->high;
	s->victim.now = ct_now();
	s->victim.class = 0;
	bpf_loop(CT_SEARCH, ct_sample, &s, 0);
	return s->victim.class ? ct_end(s->victim.conn, s->victim.birth, s->victim.class) : 0;
}

/*
 * ct_alloc - a free element of ovn_conns, for the caller alone
 *
 * Returns its index, or 0 when there is none and none could be had.
 */
__noinline int ct_alloc(struct scratch *s)
{
	struct ovn_ct_ctl *ctl = ct_control();
	__u32 i = 0, try;

	if (!s || !ctl)
		return 0;
	ROLLED
	for (try = 0; try < CT_TRIES; try++) {
		if (!bpf_map_pop_elem(&ovn_ct_free, &i))
			return i;
		if (!ctl->full) {
			i = __sync_fetch_and_add(&ctl->high, 1) + 1;
			if (conn_at(i))
				return i;
			__sync_fetch_and_add(&ctl->high, -1);
			ctl->full = 1;
		}
		if (!ct_make_room(s, ctl))
			break;
	}
	ct_count(OVN_CTC_FULL);
	return 0;
}

#endif
