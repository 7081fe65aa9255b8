/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * SCTP as the tracker sees it: which packets may belong to an association, by
 * their verification tags and chunks, and how far it is.  The rules are those of
 * the kernel's tracker, which OVS asks (its own knows no SCTP): the states of
 * nf_conntrack_proto_sctp.c, the tags of RFC 9260, section 8.5.  All of it works
 * on a copy, s->ct.peer, which ct_sctp() writes back if nobody was quicker: what
 * runs under a lock cannot be a function, and this would be too much in one.
 */
#ifndef OVN_BPF_CT_SCTP_H
#define OVN_BPF_CT_SCTP_H

#include "ct_tcp.h"

#define SCTP_HDR_LEN 12
#define SCTP_MAX_CHUNKS 32 /* looked at; of those that matter the first EVENTS count */
#define SCTP_EVENTS 8

/* Chunk types.  Those above 15 are none of ours. */
enum sctp_chunk {
	SCTP_DATA = 0,
	SCTP_INIT = 1,
	SCTP_INIT_ACK = 2,
	SCTP_HEARTBEAT = 4,
	SCTP_HEARTBEAT_ACK = 5,
	SCTP_ABORT = 6,
	SCTP_SHUTDOWN = 7,
	SCTP_SHUTDOWN_ACK = 8,
	SCTP_ERROR = 9,
	SCTP_COOKIE_ECHO = 10,
	SCTP_COOKIE_ACK = 11,
	SCTP_SHUTDOWN_COMPLETE = 14,
};

#define CHUNK(type) (1u << (type))
#define CHUNKS_THAT_MATTER                                                        \
	(CHUNK(SCTP_INIT) | CHUNK(SCTP_INIT_ACK) | CHUNK(SCTP_HEARTBEAT) |        \
	 CHUNK(SCTP_HEARTBEAT_ACK) | CHUNK(SCTP_ABORT) | CHUNK(SCTP_SHUTDOWN) |   \
	 CHUNK(SCTP_SHUTDOWN_ACK) | CHUNK(SCTP_ERROR) | CHUNK(SCTP_COOKIE_ECHO) | \
	 CHUNK(SCTP_COOKIE_ACK) | CHUNK(SCTP_SHUTDOWN_COMPLETE))
/* Chunks that are alone in their packet, and that are the first in it. */
#define CHUNKS_ALONE (CHUNK(SCTP_INIT) | CHUNK(SCTP_INIT_ACK) | CHUNK(SCTP_SHUTDOWN_COMPLETE))
#define CHUNKS_FIRST (CHUNKS_ALONE | CHUNK(SCTP_COOKIE_ECHO) | CHUNK(SCTP_COOKIE_ACK))
/* Packets with these have tags of their own rules, or none. */
#define CHUNKS_TAGGED                                                                 \
	(CHUNK(SCTP_INIT) | CHUNK(SCTP_SHUTDOWN_COMPLETE) | CHUNK(SCTP_COOKIE_ECHO) | \
	 CHUNK(SCTP_ABORT) | CHUNK(SCTP_SHUTDOWN_ACK) | CHUNK(SCTP_HEARTBEAT) |       \
	 CHUNK(SCTP_HEARTBEAT_ACK))
/* Nothing begins with these (RFC 9260, section 8.4). */
#define CHUNKS_LATE (CHUNK(SCTP_ABORT) | CHUNK(SCTP_SHUTDOWN_COMPLETE) | CHUNK(SCTP_COOKIE_ACK))

/* The state after a chunk, or OVN_SCTPS_MAX when there can be none. */
static __always_inline __u32 sctp_next(__u32 dir, __u32 chunk, __u32 state)
{
	int closing = state == OVN_SCTPS_SHUTDOWN_SENT || state == OVN_SCTPS_SHUTDOWN_RECD;

	if (state == OVN_SCTPS_NONE || state == OVN_SCTPS_HEARTBEAT_SENT) {
		if (chunk == SCTP_HEARTBEAT && (!dir || state))
			return OVN_SCTPS_HEARTBEAT_SENT;
		if (chunk == SCTP_HEARTBEAT_ACK && state)
			return dir ? OVN_SCTPS_ESTABLISHED : state;
		if (dir)
			return OVN_SCTPS_MAX;
		return chunk == SCTP_SHUTDOWN_ACK    ? OVN_SCTPS_SHUTDOWN_ACK_SENT
		       : chunk == SCTP_INIT && state ? OVN_SCTPS_COOKIE_WAIT
						     : OVN_SCTPS_CLOSED;
	}
	if (chunk == SCTP_ABORT || (chunk == SCTP_INIT && closing && !dir) ||
	    (chunk == SCTP_ERROR && state == OVN_SCTPS_COOKIE_ECHOED && dir) ||
	    (chunk == SCTP_SHUTDOWN_COMPLETE && state == OVN_SCTPS_SHUTDOWN_ACK_SENT))
		return OVN_SCTPS_CLOSED;
	if (chunk == SCTP_INIT_ACK && state == OVN_SCTPS_CLOSED && dir)
		return OVN_SCTPS_COOKIE_WAIT;
	if (chunk == SCTP_COOKIE_ECHO && state == OVN_SCTPS_COOKIE_WAIT)
		return OVN_SCTPS_COOKIE_ECHOED;
	if (chunk == SCTP_COOKIE_ACK && state == OVN_SCTPS_COOKIE_ECHOED)
		return OVN_SCTPS_ESTABLISHED;
	if (chunk == SCTP_SHUTDOWN && state == OVN_SCTPS_ESTABLISHED)
		return dir ? OVN_SCTPS_SHUTDOWN_RECD : OVN_SCTPS_SHUTDOWN_SENT;
	if (chunk == SCTP_SHUTDOWN_ACK && closing)
		return OVN_SCTPS_SHUTDOWN_ACK_SENT;
	return state;
}

/* What a HEARTBEAT or its answer says of the tag that its sender is to use.  A
 * wrong one may be a peer that began again: the answer decides.  Returns 1 when
 * the chunk moves the association, 0 when it only passes, -1 when it is invalid. */
static __always_inline int sctp_heartbeat(struct ovn_ct_peer *own, struct ovn_ct_peer *other,
					  const struct ct_work *t, __u32 chunk)
{
	if (!own->seq_lo) {
		own->seq_lo = t->seq;
		return 1;
	}
	if (t->seq == own->seq_lo) {
		own->wscale = 0;
		other->wscale = 0;
		return 1;
	}
	if (t->chunks & CHUNK(SCTP_DATA) || t->passes)
		return -1;
	if (chunk == SCTP_HEARTBEAT) {
		own->wscale = 1; /* who used it */
		other->wscale = 0;
		return 0;
	}
	if (!other->wscale)
		return -1;
	other->wscale = 0;
	own->seq_lo = t->seq;
	other->seq_lo = 0;
	return 1;
}

/* The tag that an INIT or its answer asks for.  Returns 1 if it contradicts. */
static __always_inline int sctp_init(struct ovn_ct_peer *own, struct ovn_ct_peer *other,
				     const struct ct_work *t, __u32 chunk)
{
	if (chunk == SCTP_INIT) {
		if (own->max_win && other->max_win)
			other->max_win = 0;
		own->max_win = 1; /* has begun */
	} else if (other->seq_lo != t->ack &&
		   ((!other->max_win && other->seq_lo) || (own->max_win && other->max_win))) {
		return 1;
	}
	other->seq_lo = t->ack;
	return 0;
}

/* Is the packet's tag wrong for this chunk of it? */
static __always_inline int sctp_tag_wrong(const struct ovn_ct_peer *own,
					  const struct ovn_ct_peer *other, const struct ct_work *t,
					  __u32 chunk)
{
	if (chunk == SCTP_INIT)
		return t->seq != 0;
	if (chunk == SCTP_ABORT || chunk == SCTP_SHUTDOWN_COMPLETE)
		return t->seq != (t->reflected ? other->seq_lo : own->seq_lo);
	return chunk == SCTP_COOKIE_ECHO && t->seq != own->seq_lo;
}

/*
 * sctp_event - what a chunk from the side dir does to the association s->ct.peer
 *
 * Of a side, seq_lo is the tag that its packets carry, max_win whether it sent an
 * INIT, wscale whether it sent a HEARTBEAT with another tag; the original side's
 * state is that of both.  Returns 1 when the packet is invalid.
 */
__noinline int sctp_event(struct scratch *s, __u32 dir, __u32 chunk)
{
	struct ovn_ct_peer *own, *other;
	__u32 state, was;
	struct ct_work *t;
	int moved;

	if (!s)
		return 1;
	t = &s->ct;
	own = &t->peer[dir & 1];
	other = &t->peer[(dir & 1) ^ 1];
	if (sctp_tag_wrong(own, other, t, chunk))
		return 1;
	if (chunk == SCTP_COOKIE_ACK) {
		own->max_win = 0;
		other->max_win = 0;
	}
	if (chunk == SCTP_HEARTBEAT || chunk == SCTP_HEARTBEAT_ACK) {
		moved = sctp_heartbeat(own, other, t, chunk);
		t->passes |= !moved;
		if (moved <= 0)
			return moved < 0;
	}
	was = t->peer[0].state;
	state = sctp_next(dir & 1, chunk, was);
	if (state >= OVN_SCTPS_MAX)
		return 1;
	if ((chunk == SCTP_INIT || chunk == SCTP_INIT_ACK) && sctp_init(own, other, t, chunk))
		return 1;
	/* An INIT sent again gains no time: nobody may have answered. */
	if (chunk == SCTP_INIT && was == OVN_SCTPS_CLOSED && state == was)
		t->passes = 1;
	t->peer[0].state = state;
	return 0;
}

/*
 * sctp_run - what the packet, from the side dir, does to the association s->ct.peer
 *
 * Returns 1 when it is invalid.
 */
__noinline int sctp_run(struct scratch *s, __u32 dir)
{
	__u32 events, i;
	struct ct_work *t;

	if (!s)
		return 1;
	t = &s->ct;
	t->passes = 0;
	if (t->bare)
		return 0;
	if (t->bad || (!(t->chunks & CHUNKS_TAGGED) && t->seq != t->peer[dir & 1].seq_lo))
		return 1;
	events = t->events;
	for (i = 0; i < SCTP_EVENTS; i++) {
		if (!events)
			break;
		if (sctp_event(s, dir, events & 15))
			return 1;
		events >>= 4;
	}
	return 0;
}

/*
 * sctp_begin - may the packet begin an association?  Then s->ct.peer is that
 */
__noinline int sctp_begin(struct scratch *s)
{
	struct ct_work *t;

	if (!s)
		return 0;
	t = &s->ct;
	__builtin_memset(t->peer, 0, sizeof(t->peer));
	t->peer[0].state = OVN_SCTPS_CLOSED;
	if (t->bare)
		return 1;
	if (t->bad || !t->events || t->chunks & CHUNKS_LATE)
		return 0;
	t->peer[0].state = OVN_SCTPS_NONE;
	if (t->chunks & CHUNK(SCTP_HEARTBEAT))
		t->peer[0].seq_lo = t->seq;
	else if (!(t->chunks & CHUNK(SCTP_INIT)))
		t->peer[1].seq_lo = t->seq;
	return !sctp_run(s, OVN_CT_ORIG);
}

static __always_inline __u32 sctp_timeout(const struct ovn_ct_peer *peer)
{
	__u32 state = peer->state;

	return OVN_CTT_SCTP_CLOSED + (state - OVN_SCTPS_CLOSED) % (OVN_SCTPS_MAX - 1u);
}

/* OVN_CONN_CLOSING when the association is over, or nearly. */
static __always_inline __u32 sctp_closing(const struct ovn_ct_peer *peer, __u32 flags)
{
	if (peer->state == OVN_SCTPS_CLOSED)
		return flags & OVN_CONN_SEEN_RPL ? OVN_CONN_CLOSING : 0;
	return peer->state >= OVN_SCTPS_SHUTDOWN_SENT && peer->state <= OVN_SCTPS_SHUTDOWN_ACK_SENT
		       ? OVN_CONN_CLOSING
		       : 0;
}

/*
 * sctp_chunk - note chunk i of the packet, at offset at; end: of the packet
 *
 * Returns how far it is to the next one, or 0 when there is none.
 */
__noinline __u32 sctp_chunk(struct __sk_buff *skb, struct scratch *s, __u32 at, __u32 end, __u32 i)
{
	__u32 type, len, bit;
	struct ct_work *t;
	__u8 h[8] HEADER;

	if (!s || at + 4 > end || bpf_skb_load_bytes(skb, at, h, 4))
		return 0;
	t = &s->ct;
	type = h[0];
	len = get16(h + 2);
	bit = type < 16 ? CHUNK(type & 15) : 0;
	if (!len || (i && (bit & CHUNKS_FIRST || t->chunks & CHUNKS_ALONE))) {
		t->bad = 1;
		return 0;
	}
	t->chunks |= bit;
	if (bit & (CHUNK(SCTP_ABORT) | CHUNK(SCTP_SHUTDOWN_COMPLETE)))
		t->reflected = h[1] & 1; /* bit T */
	if (bit & CHUNKS_THAT_MATTER && t->n_events < SCTP_EVENTS)
		t->events |= (type & 15) << 4 * (t->n_events++ & 7);
	if (bit & (CHUNK(SCTP_INIT) | CHUNK(SCTP_INIT_ACK))) {
		if (at + 8 > end || bpf_skb_load_bytes(skb, at + 4, h, 4))
			t->bad = 1;
		t->ack = get32(h);
	}
	return (len + 3) & ~3u;
}

/*
 * ct_load_sctp - what the state machine wants to know of the packet
 */
__noinline int ct_load_sctp(struct __sk_buff *skb, struct scratch *s)
{
	__u32 at, end, i, step;
	struct ct_work *t;
	__u8 h[8] HEADER;

	if (!s)
		return 0;
	t = &s->ct;
	t->bare = 1;
	t->bad = 0;
	t->chunks = 0;
	t->events = 0;
	t->n_events = 0;
	t->reflected = 0;
	t->ack = 0;
	if (!s->l4 || s->trace || s->cur.reply || t->peek)
		return 0;
	at = s->off + s->l4;
	end = at + s->l4_len;
	if (bpf_skb_load_bytes(skb, at, h, 8))
		return 0;
	t->bare = 0;
	t->seq = get32(h + 4);
	at += SCTP_HDR_LEN;
	t->bad = at >= end;
	for (i = 0; i < SCTP_MAX_CHUNKS; i++) {
		step = sctp_chunk(skb, s, at, end, i);
		if (!step)
			break;
		at += step;
	}
	return 0;
}

#endif
