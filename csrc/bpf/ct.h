/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Connection tracking as the interpreter sees it: OP_CT and OP_CT_LB.
 */
#ifndef OVN_BPF_CT_H
#define OVN_BPF_CT_H

#include "ct_trace.h"
#include "ct_maps.h"
#include "scratch.h"
#include "select.h"

/* A backend of the list behind OP_CT_LB, as the arguments of the OP_CT that follows. */
static __always_inline void ct_backend(struct scratch *s, __u32 pc, const struct ovn_insn *in)
{
	int chosen = s->trace ? ct_preferred(pc) : -1;
	const struct ovn_insn *d, *rest;
	__u32 *w = s->cur.w, at, port;

	at = pc + 1 + (chosen < 0 ? hash_below(w, in->b, in->a) : (__u32)chosen) * in->c;
	d = array_at(&ovn_insns, at);
	if (!d)
		return;
	if (in->c == 1) {
		w[OW_ARG_IP] = 0;
		w[OW_ARG_IP + 1] = 0;
		w[OW_ARG_IP + 2] = 0xffff;
		w[OW_ARG_IP + 3] = d->a;
		port = d->b;
	} else {
		rest = array_at(&ovn_insns, at + 1);
		if (!rest)
			return;
		w[OW_ARG_IP] = d->a;
		w[OW_ARG_IP + 1] = d->b;
		w[OW_ARG_IP + 2] = d->c;
		w[OW_ARG_IP + 3] = rest->a;
		port = rest->b;
	}
	w[OW_ARG_PORT] = port << 16 | port;
}

/*
 * ct_run - the OP_CT at pc
 *
 * Returns 0 or a drop reason.
 */
__noinline int ct_run(struct __sk_buff *skb, __u32 depth, __u32 pc)
{
	if (ct_given(depth, pc))
		return 0;
	return skb->len && depth < OVN_MAX_DEPTH && pc ? DROP_UNSUPPORTED : DROP_BUG;
}

#endif
