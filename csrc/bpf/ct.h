/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Connection tracking as the interpreter sees it: OP_CT and OP_CT_LB.
 */
#ifndef OVN_BPF_CT_H
#define OVN_BPF_CT_H

#include "csum.h"
#include "ct_commit.h"
#include "ct_trace.h"
#include "frag.h"
#include "scratch.h"
#include "select.h"

#define CT_OPERANDS 16

/*
 * ct_operand - the OP_SET or OP_MOVE at pc, where dst is a word of the connection's
 *
 * Returns 0, as the verifier wants it to return something.
 */
__noinline int ct_operand(struct scratch *s, __u32 pc)
{
	const struct ovn_insn *in = insn_at(pc);
	__u32 *w, mask, v, at, dst;

	if (!s || !in)
		return 0;
	w = s->cur.w;
	at = in->a & 31;
	dst = in->dst & (OVN_WORDS - 1);
	if (dst < OW_CT_MARK || dst >= OW_CT_LABEL + 4)
		return 0;
	if (in->op == OP_SET) {
		w[dst] = (w[dst] & ~in->a) | in->b;
		return 0;
	}
	mask = in->c >= 32 ? ~0u : (1u << (in->c & 31)) - 1;
	v = w[in->src & (OVN_WORDS - 1)] >> (in->b & 31) & mask;
	w[dst] = (w[dst] & ~(mask << at)) | v << at;
	return 0;
}

/* A backend of the list behind OP_CT_LB, as the arguments of the OP_CT that follows. */
static __always_inline void ct_backend(struct scratch *s, __u32 pc, const struct ovn_insn *in)
{
	int chosen = s->trace ? ct_preferred(pc) : -1;
	__u32 *w = s->cur.w, at, port;

	at = pc + 1 + (chosen < 0 ? hash_below(w, in->b, in->a) : (__u32)chosen) * in->c;
	port = data_at(at, in->c, w + OW_ARG_IP);
	if (in->c == 1)
		w[OW_ARG_IP + 2] = 0xffff;
	w[OW_ARG_PORT] = port << 16 | port;
}

/*
 * ct_look - find the packet's connection in zone, and say what the packet is to it
 *
 * Fills s->cur.ct and, when there is a connection, s->ct.  Returns 0 or a drop reason.
 */
__noinline int ct_look(struct __sk_buff *skb, struct scratch *s, __u32 zone)
{
	__u32 state, verdict = CT_INVALID, try;
	int err = frag_ports(skb, s, zone);

	if (!s || err)
		return err;
	s->ct.conn = 0;
	s->cur.ct.zone = zone;
	s->cur.ct.conn = 0;
	s->cur.ct.dir = 0;
	s->cur.ct.flags = 0;
	if (csum_ok(skb, s) && !ct_key(s, zone)) {
		if (s->ct.key.proto == PROTO_TCP && !s->ct.related)
			ct_load_tcp(skb, s);
		if (s->ct.key.proto == PROTO_SCTP && !s->ct.related)
			ct_load_sctp(skb, s);
		for (try = 0; try < CT_TRIES; try++) {
			verdict = ct_find(s, skb->len);
			if (s->ct.key.proto == PROTO_SCTP && !s->ct.peek && s->ct.conn)
				verdict = ct_sctp(s, skb->len);
			if (verdict != CT_DEAD)
				break;
		}
		if (verdict == CT_REOPEN && !s->trace)
			ct_end(s->ct.conn, s->ct.birth, OVN_CTC_EXPIRED);
		if (verdict == CT_NONE || verdict == CT_DEAD || verdict == CT_REOPEN) {
			s->ct.conn = 0;
			verdict = may_begin(s) ? CT_NEW : CT_INVALID;
		}
	}
	if (verdict == CT_INVALID) {
		s->ct.conn = 0;
		s->cur.ct.state = OVN_CS_TRK | OVN_CS_INV;
		if (!s->trace)
			ct_count(OVN_CTC_INVALID);
		return 0;
	}
	state = OVN_CS_TRK;
	if (s->ct.related) {
		state |= OVN_CS_REL;
		s->cur.ct.flags |= SEEN_RELATED;
	} else {
		state |= verdict == CT_VALID ? OVN_CS_EST : OVN_CS_NEW;
	}
	if (s->ct.conn) {
		if (s->ct.dir && (s->ct.related || verdict == CT_VALID))
			state |= OVN_CS_RPL;
		if (s->ct.flags & OVN_CONN_RELATED)
			state |= OVN_CS_REL;
		s->cur.ct.conn = s->ct.conn;
		s->cur.ct.birth = s->ct.birth;
		s->cur.ct.dir = s->ct.dir;
	}
	s->cur.ct.state = state;
	return 0;
}

/* The packet is of no connection, as far as we know. */
static __always_inline void ct_forget(struct scratch *s)
{
	__u32 i;

	s->cur.ct.state = 0;
	for (i = OW_CT_STATE; i <= OW_CT_PROTO; i++)
		s->cur.w[i] = 0;
}

/* The packet's words for what is in s->cur.ct and s->ct. */
static __always_inline void ct_words(struct scratch *s)
{
	const struct ovn_ct_tuple *o = s->ct.conn ? &s->ct.orig : &s->ct.key;
	__u32 *w = s->cur.w, i, icmp = is_icmp(o->proto);

	w[OW_CT_STATE] = s->cur.ct.state;
	for (i = OW_CT_MARK; i <= OW_CT_PROTO; i++)
		w[i] = 0;
	if (s->cur.ct.state & OVN_CS_INV)
		return;
	if (s->ct.conn) {
		w[OW_CT_MARK] = s->ct.mark;
		for (i = 0; i < 4; i++)
			w[OW_CT_LABEL + i] = s->ct.label[i];
	}
	address_to(w + OW_CT_DST, o->dst, o->family == 6);
	w[OW_CT_PORTS] = icmp ? (o->ports >> 8 & 0xff) << 16 | (o->ports & 0xff) : o->ports;
	w[OW_CT_PROTO] = o->proto;
}

/* What becomes of mark and label: the instructions behind an OP_CT, as if run. */
static __always_inline void ct_operands(struct scratch *s, __u32 pc, __u32 n)
{
	__u32 i;

	ROLLED
	for (i = 0; i < CT_OPERANDS && i < n; i++)
		ct_operand(s, pc + 1 + i);
}

/* A connection, for the packet that has none.  Returns 0 or a drop reason. */
static __always_inline int ct_new(struct scratch *s, __u32 len, __u32 action)
{
	int err = ct_create(s, len, action);

	if (err == DROP_CT_RACE) { /* it was made meanwhile: take what there is */
		if (ct_find(s, len) > CT_NEW || !s->ct.conn)
			return err;
	} else if (err) {
		return err;
	}
	s->cur.ct.conn = s->ct.conn;
	s->cur.ct.birth = s->ct.birth;
	s->cur.ct.dir = s->ct.dir;
	return 0;
}

/* A trace makes no connection, but its packet goes on as if it had, with the
 * first port of those it might get. */
static __always_inline void ct_pretend(struct scratch *s, __u32 action)
{
	if (!(s->cur.ct.state & OVN_CS_NEW) || !(action & (OVN_CT_SRC | OVN_CT_DST)) ||
	    s->cur.ct.flags & SEEN_NATTED)
		return;
	ct_translate_given(s->cur.w, action, 1);
	s->cur.ct.state |= s->cur.w[OW_CT_STATE];
	s->cur.ct.flags |= SEEN_NATTED;
}

/*
 * ct_run - the OP_CT at pc
 *
 * Returns 0 or a drop reason.
 */
__noinline int ct_run(struct __sk_buff *skb, struct scratch *s, __u32 pc)
{
	const struct ovn_insn *in = insn_at(pc);
	struct ovn_ct_ctl *ctl = ct_control();
	__u32 zone, action, i;
	int err = 0;

	if (!s || !in || !ctl)
		return DROP_BUG;
	if (s->trace && ct_given(s, pc))
		return 0;
	if (!ctl->ready && !s->trace)
		ct_defaults(ctl);
	zone = s->cur.w[in->src & (OVN_WORDS - 1)] & 0xffff;
	action = in->a;
	if (!(s->cur.ct.state & OVN_CS_TRK) || s->cur.ct.zone != zone)
		err = ct_look(skb, s, zone);
	else if (s->cur.ct.state & OVN_CS_INV)
		s->ct.conn = 0;
	else if (!ct_again(s))
		err = ct_look(skb, s, zone);
	if (err)
		return err;

	if (action & OVN_CT_COMMIT && !s->ct.conn && s->cur.ct.state & OVN_CS_NEW && !s->trace) {
		err = ct_new(s, skb->len, action);
		if (err)
			return err;
	}
	if (action & OVN_CT_NAT && s->ct.conn && !(s->cur.ct.flags & SEEN_NATTED) &&
	    s->ct.flags & (OVN_CONN_SNAT | OVN_CONN_DNAT)) {
		s->cur.ct.flags |= SEEN_NATTED;
		s->cur.ct.state |= nat_packet(s);
	}
	ct_words(s);
	if (action & OVN_CT_COMMIT && s->trace && !s->ct.conn)
		ct_pretend(s, action);
	if (action & OVN_CT_COMMIT && (s->ct.conn || s->trace) && in->c) {
		ct_operands(s, pc, in->c);
		if (!s->trace)
			ct_write(s);
	}
	if (action & OVN_CT_KEEP)
		for (i = OW_CT_STATE; i <= OW_CT_PROTO; i++)
			s->cur.w[i] = 0;
	return 0;
}

#endif
