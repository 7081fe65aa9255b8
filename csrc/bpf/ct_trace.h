/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Connection tracking of a trace that brings its answers along (ovn-bpf-trace
 * --ct, --lb-dst): what ovn-trace(8) says of stateful actions.  ct_run() asks
 * ct_given() before it asks the tracker.
 */
#ifndef OVN_BPF_CT_TRACE_H
#define OVN_BPF_CT_TRACE_H

#include "data.h"

#define CT_LISTED 256 /* backends among which --lb-dst is looked for */

static __always_inline __u32 ct_next_given(struct ovn_trace_ctl *ctl)
{
	__u32 i = ctl->used_ct;

	if (i >= ctl->n_ct)
		return OVN_CS_EST | OVN_CS_TRK;
	ctl->used_ct = i + 1;
	return ctl->ct[i & (OVN_TRACE_CTS - 1)];
}

/* An address as ::ffff:a.b.c.d into words of a packet, which have no ffff. */
static __always_inline void ct_put_address(__u32 *to, const __u32 *ip)
{
	to[0] = ip[0];
	to[1] = ip[1];
	to[2] = !ip[0] && !ip[1] && ip[2] == 0xffff ? 0 : ip[2];
	to[3] = ip[3];
}

/* What a connection knows of how the packet was before it was translated. */
static __always_inline void ct_put_original(__u32 *w)
{
	__builtin_memcpy(w + OW_CT_DST, w + OW_IP_DST, 16);
	w[OW_CT_PORTS] = w[OW_L4_PORTS];
	w[OW_CT_PROTO] = w[OW_IP] >> 24;
}

static __always_inline int ct_has_ports(const __u32 *w)
{
	__u32 proto = w[OW_IP] >> 24;

	return proto == 6 || proto == 17 || proto == 132;
}

/* A backend or an address that a verb names, as a connection would have it that is
 * not made.  ports: the least of the range counts, too. */
static __always_inline void ct_translate_given(__u32 *w, __u32 does, int ports)
{
	__u32 port = w[OW_ARG_PORT] >> 16;

	ports = ports && port && ct_has_ports(w);
	if (does & OVN_CT_SRC) {
		ct_put_address(w + OW_IP_SRC, w + OW_ARG_IP);
		w[OW_CT_STATE] |= OVN_CS_SNAT;
		if (ports)
			w[OW_L4_PORTS] = (w[OW_L4_PORTS] & 0xffff) | port << 16;
	}
	if (does & OVN_CT_DST) {
		ct_put_address(w + OW_IP_DST, w + OW_ARG_IP);
		w[OW_CT_STATE] |= OVN_CS_DNAT;
		if (ports)
			w[OW_L4_PORTS] = (w[OW_L4_PORTS] & 0xffff0000) | port;
	}
}

/*
 * ct_given - the OP_CT at pc, as the trace was told
 *
 * Returns 1 if that was told, 0 if the tracker is to be asked.
 */
__noinline int ct_given(struct scratch *s, __u32 pc)
{
	struct ovn_trace_ctl *ctl = array_at(&ovn_trace_ctl, 0);
	const struct ovn_insn *in = insn_at(pc);
	__u32 *w, does;

	if (!s || !in || !ctl || !s->trace || !ctl->n_ct)
		return 0;
	w = s->cur.w;
	does = in->a;
	if (does & OVN_CT_KEEP)
		return 1;
	ct_put_original(w);
	if (!(does & (OVN_CT_COMMIT | OVN_CT_NAT))) {
		w[OW_CT_STATE] = ct_next_given(ctl);
		return 1;
	}
	if (does & OVN_CT_BALANCE && !(does & OVN_CT_DST) && ctl->lb) {
		__builtin_memcpy(w + OW_ARG_IP, ctl->lb_ip, 16);
		w[OW_ARG_PORT] = ctl->lb_port << 16 | ctl->lb_port;
		does |= OVN_CT_DST;
	}
	ct_translate_given(w, does, does & OVN_CT_BALANCE); /* ovn-trace: no others */
	if (does & OVN_CT_BALANCE || !(w[OW_CT_STATE] & OVN_CS_TRK))
		w[OW_CT_STATE] |= ct_next_given(ctl);
	return 1;
}

/* The search of a list of backends for the one that a trace prefers.  In a loop of
 * its own for the verifier's sake, which would go through a plain one 256 times. */
struct ct_wanted {
	__u32 pc; /* of the first */
	__u32 n;
	__u32 size; /* instructions each */
	__s32 found;
};

static long ct_is_preferred(__u32 i, struct ct_wanted *c)
{
	const struct ovn_trace_ctl *ctl = array_at(&ovn_trace_ctl, 0);
	__u32 ip[4] = {};

	if (!ctl || i >= c->n)
		return 1;
	data_at(c->pc + i * c->size, c->size, ip);
	if (c->size == 1)
		ip[2] = 0xffff;
	if (ip[0] != ctl->lb_ip[0] || ip[1] != ctl->lb_ip[1] || ip[2] != ctl->lb_ip[2] ||
	    ip[3] != ctl->lb_ip[3])
		return 0;
	c->found = i;
	return 1;
}

/*
 * ct_preferred - the backend of the OP_CT_LB at pc that the trace was told to take
 *
 * Returns its number in the list, or -1.  It is taken once, as by ovn-trace.
 */
__noinline int ct_preferred(__u32 pc)
{
	struct ovn_trace_ctl *ctl = array_at(&ovn_trace_ctl, 0);
	const struct ovn_insn *in = insn_at(pc);
	struct ct_wanted c = { .pc = pc + 1, .found = -1 };

	if (!in || !ctl || !ctl->lb)
		return -1;
	c.n = in->a;
	c.size = in->c == 1 ? 1 : 2;
	bpf_loop(CT_LISTED, ct_is_preferred, &c, 0);
	if (c.found >= 0)
		ctl->lb = 0;
	return c.found;
}

#endif
