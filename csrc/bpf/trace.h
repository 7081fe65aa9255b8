/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Trace mode: the same walk, told instead of done.  It is a flag in scratch
 * memory that only the entry point ovn_trace sets, so no packet can bring it
 * along.  Whatever would be seen outside (sending, learning, counting) asks
 * trace first.
 */
#ifndef OVN_BPF_TRACE_H
#define OVN_BPF_TRACE_H

#include "scratch.h"

/* Does the agent want this of the targets of a select? */
static __always_inline int trace_selects(const struct scratch *s, const struct ovn_insn *in)
{
	return s->trace_pick && in->c == s->trace_pick * (in->a & -in->a);
}

/* What the slow path would make of the packet that is tried: a request for its next
 * hop (RFC 826; RFC 4861, 4.3). */
static __always_inline void trace_made(__u32 *w, __u32 verb)
{
	__u32 last = w[OW_IP_DST + 3] & 0xffffff, i;

	if (verb != OVN_PUNT_ARP && verb != OVN_PUNT_ND_NS)
		return;
	w[OW_IP] = 0;
	w[OW_L4_PORTS] = 0;
	w[OW_TCP_ARP] = 0;
	w[OW_IP6_LABEL] = 0;
	w[OW_ND_SLL] = w[OW_ETH_SRC];
	w[OW_ND_SLL + 1] = w[OW_ETH_SRC + 1];
	w[OW_ND_TLL] = 0;
	w[OW_ND_TLL + 1] = 0;
	if (verb == OVN_PUNT_ARP) {
		w[OW_ETH_TYPE] = ETH_P_ARP << 16 | (w[OW_ETH_TYPE] & 0xffff);
		w[OW_TCP_ARP] = 1 << 16;
		return;
	}
	w[OW_IP] = PROTO_ICMP6 << 24 | 255 << 16;
	w[OW_L4_PORTS] = ND_NS << 16;
	for (i = 0; i < 4; i++)
		w[OW_ND_TARGET + i] = w[OW_IP_DST + i];
	w[OW_IP_DST] = 0xff020000;
	w[OW_IP_DST + 1] = 0;
	w[OW_IP_DST + 2] = 1;
	w[OW_IP_DST + 3] = 0xff000000 | last;
	w[OW_ETH_DST] = 0x3333;
	w[OW_ETH_DST + 1] = 0xff000000 | last;
}

/*
 * trace_event - write one line of the trace
 *
 * kind: enum ovn_trace_kind.  a, b: table and pc of a match, reason of a drop,
 * port or chassis of an output.
 */
__noinline int trace_event(struct scratch *s, __u32 kind, __u32 a, __u32 b)
{
	struct ovn_trace_ctl *ctl = array_at(&ovn_trace_ctl, 0);
	struct ovn_trace_event *e;
	__u32 n;

	if (!s || !ctl)
		return 0;
	n = ctl->events++;
	e = array_at(&ovn_trace_log, n);
	if (!e)
		return 0;
	e->kind = kind;
	e->flow = kind == TRACE_MATCH ? s->flow : s->cur.flow;
	e->prio = s->prio;
	e->dp = s->cur.w[OW_DP];
	e->egress = s->cur.egress;
	e->na = s->cur.reply;
	e->nested = s->n_stack;
	e->table = kind == TRACE_MATCH ? a : s->cur.table;
	e->pc = kind == TRACE_MATCH || kind == TRACE_INSN ? b : 0;
	e->reason = kind == TRACE_DROP ? a : 0;
	e->chassis = kind == TRACE_REMOTE ? a : 0;
	e->port = kind == TRACE_DEVICE || kind == TRACE_PATCH || kind == TRACE_LEARN ? a : 0;
	__builtin_memcpy(e->w, s->cur.w, sizeof(e->w));
	return 0;
}

#endif
