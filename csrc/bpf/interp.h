/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The interpreter: one step takes the top item off the work stack, looks a
 * stage up or goes on in an action list, and may leave new items.  run() steps
 * until nothing is left.
 */
#ifndef OVN_BPF_INTERP_H
#define OVN_BPF_INTERP_H

#include "ct.h"
#include "drop.h"
#include "fdb.h"
#include "learnt.h"
#include "neighbour.h"
#include "news.h"
#include "output.h"
#include "punt.h"
#include "select.h"
#include "tell.h"

#define WORD(i) ((i) & (OVN_WORDS - 1))

static __always_inline int at_end(__u32 pc)
{
	const struct ovn_insn *in = array_at(&ovn_insns, pc);

	return !in || in->op == OP_END;
}

static __always_inline void move_bits(__u32 *w, const struct ovn_insn *in)
{
	__u32 mask = in->c >= 32 ? ~0u : (1u << (in->c & 31)) - 1;
	__u32 v = w[WORD(in->src)] >> (in->b & 31) & mask, at = in->a & 31;

	w[WORD(in->dst)] = (w[WORD(in->dst)] & ~(mask << at)) | v << at;
}

static __always_inline void set_bit(__u32 *w, __u32 word, __u32 bit, int value)
{
	__u32 m = 1u << (bit & 31);

	w[WORD(word)] = value ? w[WORD(word)] | m : w[WORD(word)] & ~m;
}

/* The list goes on at pc later, with the context as it is now. */
static __always_inline int return_to(struct scratch *s, __u32 pc)
{
	int saved;

	push(s, FR_ACTS, s->cur.egress, pc, 0, 0);
	saved = ctx_save(s);
	if (saved < 0)
		return DROP_DEPTH;
	push(s, FR_RESTORE, 0, 0, saved, 0);
	return 0;
}

/* A copy runs the body; the original goes on behind it.  When nothing is left
 * to do there, the copy may as well be the original. */
static __always_inline int begin_clone(struct scratch *s, __u32 pc, const struct ovn_insn *in)
{
	__u32 after = pc + 1 + in->a;

	if (!at_end(after) && return_to(s, after))
		return DROP_DEPTH;
	push(s, FR_ACTS, s->cur.egress, pc + 1, 0, 0);
	return 0;
}

static __always_inline void field_stack(struct scratch *s, const struct ovn_insn *in)
{
	__u32 i, n = in->c & 7;

	for (i = 0; i < 4; i++) {
		if (i >= n)
			break;
		if (in->op == OP_PUSH)
			s->fields[s->n_fields++ & (OVN_MAX_FIELDS - 1)] =
				s->cur.w[WORD(in->src + i)];
		else
			s->cur.w[WORD(in->dst + n - 1 - i)] =
				s->fields[--s->n_fields & (OVN_MAX_FIELDS - 1)];
	}
}

enum { ACT_NEXT = 0, ACT_STOP = 1, ACT_OUTPUT = 2 };

/*
 * execute_rare - the instructions that most action lists do not have
 *
 * In a function of its own to keep the stack of the way to output() short.
 * Returns as execute() does.
 */
__noinline int execute_rare(struct __sk_buff *skb, struct scratch *s, const struct ovn_insn *in,
			    __u32 pc)
{
	__u32 *w, i;
	int reason = 0;

	if (!s || !in)
		return ACT_STOP;
	w = s->cur.w;
	switch (in->op) {
	case OP_CLONE:
		if (s->trace)
			trace_event(s, TRACE_CLONE, 0, 0);
		reason = begin_clone(s, pc, in);
		break;
	case OP_CALL:
		push(s, FR_ACTS, s->cur.egress, pc + 1, 0, 0);
		if (in->b)
			push(s, FR_RESULT, in->dst, in->b, in->a, 0);
		push(s, FR_LOOKUP, in->aux, 0, 0, 0);
		return ACT_STOP;
	case OP_CT: /* from the stack, where more of it is left for functions */
		push(s, FR_ACTS, s->cur.egress, pc + 1 + in->c, 0, 0);
		push(s, FR_CT, 0, pc, 0, 0);
		return ACT_STOP;
	case OP_CT_LB:
		if (!in->a) {
			reason = DROP_NO_BACKEND;
			break;
		}
		ct_backend(s, pc, in);
		push(s, FR_ACTS, s->cur.egress, pc + 1 + in->a * in->c, 0, 0);
		return ACT_STOP;
	case OP_LEARN:
		learn(s, pc);
		push(s, FR_ACTS, s->cur.egress, pc + 1 + in->c, 0, 0);
		return ACT_STOP;
	case OP_LEARNT:
		set_bit(w, in->dst, in->a, learnt(s, pc));
		return ACT_NEXT;
	case OP_PUNT: /* from the stack, as OP_CT */
		if (s->trace) {
			trace_made(w, in->a);
			if (in->src & OVN_PUNT_ANSWERS)
				set_bit(w, in->dst, in->aux, in->src & OVN_PUNT_TRACED);
			return ACT_NEXT;
		}
		push(s, FR_PUNT, 0, pc, 0, 0);
		return ACT_STOP;
	case OP_METER:
		if (s->trace || metered(in->a, in->b, skb->len - s->off))
			return ACT_NEXT;
		reason = in->src;
		if (!reason)
			push(s, FR_ACTS, s->cur.egress, pc + 1 + in->c, 0, 0);
		break;
	case OP_LOG:
	case OP_SAMPLE:
		if (!s->trace)
			tell(s, pc, skb->len - s->off);
		return ACT_NEXT;
	case OP_ND_NA:
		become_na(w);
		s->cur.reply = in->a << 24 | REPLY_NA;
		return ACT_NEXT;
	case OP_REPLY: /* about the frame as it is now, so that is brought up to date */
		if (!s->trace)
			reason = store(skb, s);
		if (!reason)
			reason = become_reply(s, in->a);
		if (reason)
			break;
		ct_forget(s);
		return ACT_NEXT;
	case OP_LARGER:
		set_bit(w, in->dst, in->a, segment_len(skb, s) > in->b);
		return ACT_NEXT;
	case OP_HASH:
		w[WORD(in->dst)] = hash_below(w, in->a, in->b);
		return ACT_NEXT;
	case OP_PICK:
		if (w[WORD(in->src)] < in->b || (s->trace && trace_selects(s, in))) {
			w[WORD(in->dst)] = (w[WORD(in->dst)] & ~in->a) | in->c;
			w[WORD(in->src)] = ~0u;
		}
		return ACT_NEXT;
	case OP_QUEUE:
		s->cur.queue = in->a;
		return ACT_NEXT;
	case OP_FLOOD:
		reason = flood_remote(s);
		if (reason)
			break;
		return ACT_NEXT;
	case OP_QUOTED_SRC:
		quote_from(s, in->b);
		return ACT_NEXT;
	case OP_DEC_TTL:
		i = w[OW_IP] >> 16 & 0xff;
		if (i <= 1) {
			reason = DROP_TTL;
			break;
		}
		w[OW_IP] -= 1 << 16;
		return ACT_NEXT;
	case OP_CT_CLEAR:
		ct_forget(s);
		return ACT_NEXT;
	case OP_GET_FDB:
		w[OW_OUTPORT] = fdb_port(s, in->src, 0);
		return ACT_NEXT;
	case OP_LOOKUP_FDB:
		i = fdb_port(s, in->src, w[WORD(in->b)]);
		set_bit(w, in->dst, in->a, fdb_known(s, i, w[WORD(in->b)]));
		return ACT_NEXT;
	case OP_PUT_FDB:
		if (s->trace) {
			trace_event(s, TRACE_LEARN, w[WORD(in->b)], 0);
			return ACT_NEXT;
		}
		fdb_learn(s, in->src, w[WORD(in->b)]);
		news(skb, s, OVN_NEWS_FDB, w[WORD(in->b)], in->src);
		return ACT_NEXT;
	case OP_MAC_GET:
	case OP_MAC_IS:
		neighbour(s, in->op);
		return ACT_NEXT;
	case OP_MAC_PUT:
		neighbour(s, in->op);
		if (!s->trace)
			news(skb, s, OVN_NEWS_MAC, w[OW_ARG_PORT], OW_ARG_MAC);
		return ACT_NEXT;
	case OP_BIND_VPORT:
		if (!s->trace)
			news(skb, s, OVN_NEWS_VPORT, w[WORD(in->src)], in->a);
		return ACT_NEXT;
	case OP_MAC_USE:
		neighbour_used(s);
		return ACT_NEXT;
	case OP_PUSH:
	case OP_POP:
		field_stack(s, in);
		return ACT_NEXT;
	default:
		reason = DROP_BUG;
	}
	if (reason)
		drop_branch(skb, s, reason);
	return ACT_STOP;
}

/*
 * execute - the instruction at pc
 *
 * Returns ACT_NEXT to go on with the following one, ACT_STOP when the list is
 * done or goes on later from the stack, ACT_OUTPUT when output() comes first: that
 * step() calls, since the calls below it are as deep as they may be.
 */
__noinline int execute(struct __sk_buff *skb, struct scratch *s, __u32 pc)
{
	const struct ovn_insn *in = array_at(&ovn_insns, pc);
	int reason = 0, last;
	__u32 *w;

	if (!s || !in) {
		drop(skb, DROP_BUG);
		return ACT_STOP;
	}
	w = s->cur.w;
	if (s->trace)
		trace_event(s, TRACE_INSN, 0, pc);
	switch (in->op) {
	case OP_END:
		return ACT_STOP;
	case OP_SET:
		w[WORD(in->dst)] = (w[WORD(in->dst)] & ~in->a) | in->b;
		return ACT_NEXT;
	case OP_MOVE:
		move_bits(w, in);
		return ACT_NEXT;
	case OP_NEXT:
	case OP_OUTPUT:
		last = at_end(pc + 1);
		if (in->op == OP_OUTPUT) {
			if (in->a)
				s->cur.egress = 0;
			if (last || !return_to(s, pc + 1))
				return ACT_OUTPUT;
			reason = DROP_DEPTH;
			break;
		}
		if (!last)
			push(s, FR_ACTS, s->cur.egress, pc + 1, 0, 0);
		s->cur.egress = in->src;
		push(s, FR_LOOKUP, in->src ? OVN_EGRESS_BASE + in->aux : in->aux, 0, 0, 0);
		return ACT_STOP;
	case OP_DROP:
		reason = in->a;
		break;
	default:
		return execute_rare(skb, s, in, pc);
	}
	if (reason)
		drop_branch(skb, s, reason);
	return ACT_STOP;
}

/* Up to OVN_INSNS_PER_STEP instructions; the rest stays on the stack.  Returns 0 or a
 * drop reason. */
static __always_inline int run_actions(struct __sk_buff *skb, struct scratch *s, __u32 pc)
{
	__u32 i, then;

	ROLLED
	for (i = 0; i < OVN_INSNS_PER_STEP; i++) {
		then = execute(skb, s, pc + i);
		if (then == ACT_OUTPUT)
			return output(skb, s);
		if (then == ACT_STOP)
			return 0;
	}
	push(s, FR_ACTS, s->cur.egress, pc + i, 0, 0);
	return 0;
}

/*
 * step - one item of work
 *
 * Returns 1 when nothing is left, or another program is to go on.
 */
__noinline int step(struct __sk_buff *skb, struct scratch *s)
{
	struct frame f;
	__u32 pc, top;
	int reason = 0;

	if (!s)
		return 1;
	if (!s->n_stack) {
		if (s->remote_done >= s->n_deferred)
			return 1;
		push(s, FR_REMOTE, 0, 0, s->remote_done, 0);
	}
	if (s->n_stack > OVN_MAX_STACK - 4) {	 /* one step pushes three at most */
		drop_branch(skb, s, DROP_DEPTH); /* all that is left: half of it may be wrong */
		s->n_stack = 0;
		s->n_deferred = s->remote_done;
		return 1;
	}
	top = s->n_stack - 1;
	s->n_stack = top;
	hide(top); /* the compiler knows better and drops the mask; 6.1 needs it */
	f = s->stack[top & (OVN_MAX_STACK - 1)];
	switch (f.kind) {
	case FR_LOOKUP:
		pc = classify(s, f.table);
		if (f.table < OVN_TABLE_AGENT || f.table >= OVN_EGRESS_BASE) {
			s->cur.flow = s->flow;
			s->cur.table = s->table;
		}
		if (s->trace)
			trace_event(s, TRACE_MATCH, s->table, pc);
		else if (s->flow)
			count_flow(s->flow, skb->len);
		if (!pc) {
			reason = s->sets_over ? DROP_SETS : DROP_NO_FLOW;
			break;
		}
		reason = run_actions(skb, s, pc);
		break;
	case FR_ACTS:
		s->cur.egress = f.table;
		reason = run_actions(skb, s, f.pc);
		break;
	case FR_RESULT:
		set_bit(s->cur.w, f.table, f.i, (s->cur.w[OW_RESULT] & f.pc) != 0);
		break;
	case FR_RESTORE:
		ctx_load(s, f.i);
		s->n_saved = f.i;
		break;
	case FR_GROUP:
	case FR_GROUP_RX:
		reason = output_member(s, &f);
		break;
	case FR_REMOTE:
		reason = output_deferred(skb, s, &f);
		break;
	case FR_PUNT:
		reason = punt(skb, s, f.pc, f.i);
		if (reason < 0)
			return 1;
		break;
	case FR_OUTPUT:
		reason = output(skb, s);
		break;
	case FR_CT:
		reason = ct_run(skb, s, f.pc);
		if (reason) /* what follows in the list is not for a lost packet */
			s->n_stack--;
		break;
	default:
		reason = DROP_BUG;
	}
	if (reason)
		drop_branch(skb, s, reason);
	return 0;
}

struct run_ctx {
	struct __sk_buff *skb;
	struct scratch *s;
};

static long run_step(__u32 i __attribute__((unused)), struct run_ctx *r)
{
	return step(r->skb, r->s) != 0;
}

/* Work until nothing is left, or the bound is hit; s->verdict has what it came to. */
static __always_inline void run(struct __sk_buff *skb, struct scratch *s)
{
	struct run_ctx r = { .skb = skb, .s = s };

	bpf_loop(OVN_MAX_STEPS, run_step, &r, 0);
	if (others_need(s) && !s->serve.pc)
		drop_branch(skb, s, DROP_STEPS);
}

#endif
