/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * log() and sample(): the packet goes on, and what it was is told through a ring
 * buffer.  Each has its own, so that neither takes room from the other or from
 * packets for the slow path; they keep what there is while no agent runs.
 */
#ifndef OVN_BPF_TELL_H
#define OVN_BPF_TELL_H

#include "drop.h"
#include "punt.h"

/* Lines that log() asks for. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} ovn_logs SEC(".maps");
/* Packets that sample() chose. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} ovn_samples SEC(".maps");
/* How many of both; index enum ovn_told. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, OVN_TOLD_MAX);
	__type(key, __u32);
	__type(value, struct ovn_count);
} ovn_told SEC(".maps");

/*
 * tell - the OP_LOG or OP_SAMPLE at pc
 */
__noinline int tell(struct scratch *s, __u32 pc, __u32 len)
{
	const struct ovn_insn *in = insn_at(pc);
	struct ovn_event *e;
	__u32 told = OVN_TOLD_LOG_LIMITED;
	int sampled, err;

	if (!s || !in)
		return 0;
	sampled = in->op == OP_SAMPLE;
	if (sampled && bpf_get_prandom_u32() > (in->a << 16 | in->a))
		return 0;
	if (!sampled && !in->src && !punt_allowed(s, OVN_PACE_LOG))
		goto counted;
	e = &s->buf.event;
	e->at = bpf_ktime_get_ns();
	e->arg = in->b;
	e->flow = s->cur.flow;
	e->egress = s->cur.egress;
	e->len = len;
	e->domain = (__u32)in->aux << 24 | (s->cur.w[OW_DP] & 0xffffff);
	e->point = in->src ? s->cur.w[in->dst & (OVN_WORDS - 1)] : in->c;
	__builtin_memcpy(e->w, s->cur.w, sizeof(e->w));
	if (sampled) {
		err = bpf_ringbuf_output(&ovn_samples, e, sizeof(*e), 0);
		told = err ? OVN_TOLD_SAMPLE_LOST : OVN_TOLD_SAMPLE;
	} else {
		err = bpf_ringbuf_output(&ovn_logs, e, sizeof(*e), 0);
		told = err ? OVN_TOLD_LOG_LOST : OVN_TOLD_LOG;
	}
counted:
	count(&ovn_told, told, len);
	return 0;
}

#endif
