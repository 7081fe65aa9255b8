/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * TCP as the tracker sees it: which segments may belong to a connection, and how
 * far each side is.  The rules are those of OVS's lib/conntrack-tcp.c, which has
 * them from pf: sequence tracking after Guido van Rooij, "Real Stateful TCP Packet
 * Filtering in IP Filter".  Under the connection's lock nothing can be
 * called, so ct_load_tcp() reads the segment before.
 */
#ifndef OVN_BPF_CT_TCP_H
#define OVN_BPF_CT_TCP_H

#include "ct_tuple.h"

#define CT_TCP_FIN 0x01
#define CT_TCP_SYN 0x02
#define CT_TCP_RST 0x04
#define CT_TCP_PSH 0x08
#define CT_TCP_ACK 0x10
#define CT_TCP_URG 0x20

#define TCP_MAX_ACK_WINDOW (0xffff + 1500) /* a fragment's worth backwards */

/* What a packet is to the connection it was found to belong to. */
enum ct_verdict {
	CT_NONE = 0, /* there is no connection */
	CT_VALID,    /* established */
	CT_NEW,	     /* still new: nobody has answered */
	CT_INVALID,
	CT_REOPEN, /* the connection was over; this begins another */
	CT_DEAD,   /* whom the index names is not, or not any more, this one */
};

#define NO_TIMEOUT OVN_CTT_MAX /* leave it as it is */

static __always_inline int tcp_flags_wrong(__u32 f)
{
	if (f & CT_TCP_SYN ? f & (CT_TCP_RST | CT_TCP_FIN) : !(f & (CT_TCP_ACK | CT_TCP_RST)))
		return 1;
	return !(f & CT_TCP_ACK) && f & (CT_TCP_FIN | CT_TCP_PSH | CT_TCP_URG);
}

/* May a segment with these flags begin a connection?  One in mid-stream may. */
static __always_inline int tcp_may_begin(__u32 f)
{
	return !tcp_flags_wrong(f) && (f & (CT_TCP_SYN | CT_TCP_ACK)) != (CT_TCP_SYN | CT_TCP_ACK);
}

static __always_inline __u32 at_least_one(__u32 n)
{
	return n ? n : 1;
}

static __always_inline int seq_geq(__u32 a, __u32 b)
{
	return (__s32)(a - b) >= 0;
}

static __always_inline __u32 scaled_down(__u32 win, __u32 scale)
{
	return (win + (1u << scale) - 1) >> scale;
}

static __always_inline void tcp_begin(struct ovn_conn *c, const struct ct_work *t)
{
	struct ovn_ct_peer *src = &c->peer[0], *dst = &c->peer[1];
	__u32 win = at_least_one(t->win), syn = t->tcp_flags & CT_TCP_SYN;

	src->seq_lo = t->seq;
	src->seq_hi = t->seq + t->payload + 1 + !!syn + !!(t->tcp_flags & CT_TCP_FIN);
	src->wscale = syn ? t->wscale : OVN_WSCALE_LIBERAL;
	src->max_win = scaled_down(win, src->wscale & OVN_WSCALE_MASK);
	src->state = OVN_TCPS_SYN_SENT;
	dst->seq_lo = 0;
	dst->seq_hi = 1;
	dst->wscale = syn ? 0 : OVN_WSCALE_LIBERAL;
	dst->max_win = 1;
	dst->state = OVN_TCPS_CLOSED;
}

/* One segment, with the numbers that its place in the stream gives it. */
struct tcp_seg {
	__u32 seq;
	__u32 end;
	__u32 ack;
	__u32 win;
	__u32 sws; /* shift of the sender's window, of the receiver's */
	__u32 dws;
	__u32 check_ack;
};

/* The first segment of a side: what it says is where it begins. */
static __always_inline void tcp_first(struct ovn_ct_peer *src, struct ovn_ct_peer *dst,
				      const struct ct_work *t, struct tcp_seg *g)
{
	__u32 room;

	if (t->tcp_flags & CT_TCP_SYN && dst->wscale & OVN_WSCALE_KNOWN) {
		src->wscale = t->wscale;
		if (src->wscale & OVN_WSCALE_KNOWN) { /* a SYN's own window is not scaled */
			g->sws = src->wscale & OVN_WSCALE_MASK;
			g->win = scaled_down(g->win, g->sws);
			g->dws = dst->wscale & OVN_WSCALE_MASK;
		} else {
			room = (__u32)dst->max_win << (dst->wscale & OVN_WSCALE_MASK);
			dst->max_win = room > 0xffff ? 0xffff : room;
			dst->wscale = 0;
		}
	}
	src->seq_lo = g->seq;
	src->state = OVN_TCPS_SYN_SENT;
	room = g->end + at_least_one((__u32)dst->max_win << g->dws);
	if (src->seq_hi == 1 || seq_geq(room, src->seq_hi)) {
		src->seq_hi = room;
		g->check_ack = 0;
	}
	if (g->win > src->max_win)
		src->max_win = g->win;
}

static __always_inline int tcp_in_window(const struct ovn_ct_peer *src,
					 const struct ovn_ct_peer *dst, const struct ct_work *t,
					 const struct tcp_seg *g)
{
	__s32 skew = g->check_ack ? (__s32)(dst->seq_lo - g->ack) : 0;

	return seq_geq(src->seq_hi, g->end) &&
	       seq_geq(g->seq, src->seq_lo - ((__u32)dst->max_win << g->dws)) &&
	       skew >= -TCP_MAX_ACK_WINDOW && skew <= (TCP_MAX_ACK_WINDOW << g->sws) &&
	       (!(t->tcp_flags & CT_TCP_RST) || t->seq - src->seq_lo + 1 <= 2);
}

static __always_inline void tcp_slide(struct ovn_ct_peer *src, struct ovn_ct_peer *dst,
				      const struct tcp_seg *g)
{
	__u32 room = g->win << g->sws;

	if (g->win > src->max_win)
		src->max_win = g->win;
	if (!seq_geq(src->seq_lo, g->end))
		src->seq_lo = g->end;
	if (seq_geq(g->ack + room, dst->seq_hi))
		dst->seq_hi = g->ack + at_least_one(room);
}

static __always_inline __u32 tcp_timeout(__u32 a, __u32 b)
{
	__u32 least = a < b ? a : b, most = a < b ? b : a;

	if (least >= OVN_TCPS_FIN_WAIT_2)
		return OVN_CTT_TCP_CLOSE;
	if (least >= OVN_TCPS_CLOSING)
		return OVN_CTT_TCP_TIME_WAIT;
	if (least < OVN_TCPS_ESTABLISHED)
		return OVN_CTT_TCP_SYN_RECV;
	return most >= OVN_TCPS_CLOSING ? OVN_CTT_TCP_FIN_WAIT : OVN_CTT_TCP_ESTABLISHED;
}

/*
 * A segment of a known connection, from the side dir.  Returns a verdict; *timeout
 * is what the connection now has, or NO_TIMEOUT.
 */
static __always_inline int tcp_update(struct ovn_conn *c, const struct ct_work *t, __u32 dir,
				      __u32 loose, __u32 *timeout)
{
	struct ovn_ct_peer *src = &c->peer[dir & 1], *dst = &c->peer[(dir & 1) ^ 1];
	struct tcp_seg g = { .seq = t->seq, .ack = t->ack, .win = t->win, .check_ack = 1 };
	__u32 f = t->tcp_flags;

	if (tcp_flags_wrong(f))
		return CT_INVALID;
	if ((f & (CT_TCP_SYN | CT_TCP_ACK)) == CT_TCP_SYN) {
		if (src->state >= OVN_TCPS_FIN_WAIT_2 && dst->state >= OVN_TCPS_FIN_WAIT_2)
			return CT_REOPEN;
		if (src->state <= OVN_TCPS_SYN_SENT) {
			src->state = OVN_TCPS_SYN_SENT;
			*timeout = OVN_CTT_TCP_SYN_SENT;
			return CT_NEW;
		}
	}
	if (!(f & CT_TCP_SYN)) {
		if (src->wscale & dst->wscale & OVN_WSCALE_KNOWN) {
			g.sws = src->wscale & OVN_WSCALE_MASK;
			g.dws = dst->wscale & OVN_WSCALE_MASK;
		} else if (src->wscale & dst->wscale & OVN_WSCALE_LIBERAL) {
			g.sws = 14;
			g.dws = 14;
		}
	}
	g.end = g.seq + t->payload + !!(f & CT_TCP_SYN) + !!(f & CT_TCP_FIN);
	if (src->state < OVN_TCPS_SYN_SENT)
		tcp_first(src, dst, t, &g);
	if (!(f & CT_TCP_ACK) || (!g.ack && f & CT_TCP_RST))
		g.ack = dst->seq_lo;
	if (g.seq == g.end) /* nothing in it: where it lies matters less */
		g.seq = g.end = src->seq_lo;

	if (loose || t->bare || tcp_in_window(src, dst, t, &g)) {
		if (!t->bare)
			tcp_slide(src, dst, &g);
		if (f & CT_TCP_FIN && src->state < OVN_TCPS_CLOSING)
			src->state = OVN_TCPS_CLOSING;
		if (f & CT_TCP_ACK && dst->state == OVN_TCPS_SYN_SENT)
			dst->state = OVN_TCPS_ESTABLISHED;
		else if (f & CT_TCP_ACK && dst->state == OVN_TCPS_CLOSING)
			dst->state = OVN_TCPS_FIN_WAIT_2;
		if (f & CT_TCP_RST)
			src->state = dst->state = OVN_TCPS_TIME_WAIT;
		*timeout = tcp_timeout(src->state, dst->state);
		return CT_VALID;
	}
	/* SYNs before the other side answered, streams picked up in the middle, and
	 * what comes just after the end: pass, but gain no time. */
	if ((dst->state < OVN_TCPS_SYN_SENT || dst->state >= OVN_TCPS_FIN_WAIT_2 ||
	     src->state >= OVN_TCPS_FIN_WAIT_2) &&
	    seq_geq(src->seq_hi + TCP_MAX_ACK_WINDOW, g.end) &&
	    seq_geq(g.seq, src->seq_lo - TCP_MAX_ACK_WINDOW)) {
		tcp_slide(src, dst, &g);
		if (f & CT_TCP_FIN && src->state < OVN_TCPS_CLOSING)
			src->state = OVN_TCPS_CLOSING;
		if (f & CT_TCP_RST)
			src->state = dst->state = OVN_TCPS_TIME_WAIT;
		return CT_VALID;
	}
	return CT_INVALID;
}

#define TCP_OPTIONS 40 /* bytes of them, at most */

struct tcp_options {
	struct __sk_buff *skb;
	struct ct_work *t;
	__u32 at;
	__u32 end;
};

/* The next option of a SYN; the shift count for its window, as OVN_WSCALE_*. */
static long tcp_option(__u32 i __attribute__((unused)), struct tcp_options *o)
{
	__u8 opt[3];

	if (o->at + 3 > o->end || bpf_skb_load_bytes(o->skb, o->at, opt, 3) || !opt[0])
		return 1;
	if (opt[0] == 3) {
		o->t->wscale = OVN_WSCALE_KNOWN | (opt[2] > 14 ? 14 : opt[2]);
		return 1;
	}
	o->at += opt[0] == 1 ? 1 : opt[1] < 2 ? 2 : opt[1];
	return 0;
}

/*
 * ct_load_tcp - what the state machine wants to know of the segment
 */
__noinline int ct_load_tcp(struct __sk_buff *skb, struct scratch *s)
{
	struct ct_work *t;
	__u32 l3, l4, end, hlen;
	__u8 h[16] HEADER;
	struct tcp_options o = { .skb = skb };

	if (!s)
		return 0;
	t = &s->ct;
	o.t = t;
	t->bare = 1;
	t->tcp_flags = t->peek ? CT_TCP_ACK : s->cur.w[OW_TCP_ARP] & 0xfff;
	t->seq = 0;
	t->ack = 0;
	t->win = 0;
	t->payload = 0;
	t->wscale = 0;
	if (!s->l4 || s->trace || s->cur.reply)
		return 0;
	l3 = s->off + s->l3;
	l4 = s->off + s->l4;
	if (bpf_skb_load_bytes(skb, l3, h, 8))
		return 0;
	end = h[0] >> 4 == 6 ? get16(h + 4) + IP6_LEN : get16(h + 2);
	if (end == (h[0] >> 4 == 6 ? IP6_LEN : 0)) /* BIG TCP */
		end = skb->len - l3;
	end += l3;
	if (bpf_skb_load_bytes(skb, l4, h, sizeof(h)))
		return 0;
	hlen = (h[12] >> 4) * 4;
	t->bare = 0;
	t->seq = get32(h + 4);
	t->ack = get32(h + 8);
	t->win = get16(h + 14);
	t->payload = end > l4 + hlen ? end - l4 - hlen : 0;
	if (t->tcp_flags & 0x02) {
		o.at = l4 + 20;
		o.end = l4 + hlen;
		bpf_loop(TCP_OPTIONS, tcp_option, &o, 0);
	}
	return 0;
}

#endif
