/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The data plane: one program for each kind of device.  ovn_vif is attached to
 * the ingress of logical ports' devices, ovn_underlay to the underlay devices
 * when Geneve is done inline, ovn_tunnel to a collect-metadata netdev.
 *
 * All three parse the frame into words and end in ovn_run, which runs OVN's logical
 * flows as the agent has compiled them into maps; see docs/architecture.md.
 */
#include <linux/types.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#ifndef NULL
#define NULL ((void *)0)
#endif

#include "ovn_bpf/tables.h"
#include "ovn_bpf/words.h"

#include "bpf/ct_timer.h"
#include "bpf/entry.h"
#include "bpf/interp.h"
#include "bpf/news.h"
#include "bpf/decap.h"
#include "bpf/parse.h"
#include "bpf/serve_dhcp.h"
#include "bpf/serve_dns.h"
#include "bpf/serve_ra.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* From a logical port's device: into its ingress pipeline. */
static __always_inline int from_vif(struct __sk_buff *skb, struct scratch *s)
{
	const struct ovn_port *p = NULL;
	__u32 tci;
	int err = parse(skb, s);

	if (err)
		return err;
	tci = s->cur.w[OW_ETH_TYPE] & 0xffff;
	if (tci & VLAN_PRESENT && tci & 0xfff) {
		p = port_of_device(s, skb->ifindex, tci & 0xfff);
		if (p) { /* a container: its tag is gone once it is inside */
			s->cur.w[OW_ETH_TYPE] &= 0xffff0000;
			s->cur.w[OW_FLAGS] |= MLF_NESTED_CONTAINER;
		}
	}
	if (!p)
		p = port_of_device(s, skb->ifindex, 0);
	if (!p)
		return DROP_NO_PORT;
	s->in_ifindex = skb->ifindex;
	s->cur.w[OW_DP] = p->key.dp;
	s->cur.w[OW_INPORT] = p->key.port;
	if (p->flags & OVN_PORT_F_LOCALPORT)
		s->cur.w[OW_FLAGS] |= MLF_LOCALPORT;
	if (p->flags & OVN_PORT_F_ASLEEP) {
		if (!wakes(s, p->flags))
			return DROP_ASLEEP;
		news(skb, s, OVN_NEWS_AWAKE, p->key.port, OW_ETH_SRC);
	}
	s->cur.dp_index = p->dp_index;
	load_zones(s, p);
	push(s, FR_LOOKUP, 0, 0, 0, 0);
	return 0;
}

/* From another chassis: into the egress pipeline of the outport it names. */
static __always_inline int from_tunnel(struct __sk_buff *skb, struct scratch *s)
{
	__u32 outport = s->tun_opt & 0xffff;
	int err = parse(skb, s);

	if (err)
		return err;
	s->cur.w[OW_DP] = s->tun_vni;
	s->cur.w[OW_INPORT] = s->tun_opt >> 16 & 0x7fff;
	s->cur.w[OW_OUTPORT] = outport;
	if (!outport)
		return from_flood(s, s->tun_vni);
	if (outport >= OVN_MIN_MCGROUP)
		return output_group(s, 1);
	err = output_local(s, s->tun_vni, outport);
	return err == DROP_NO_OUTPORT ? DROP_TUN_VNI : err;
}

static __always_inline int too_deep(struct __sk_buff *skb)
{
	drop(skb, DROP_REENTRY);
	return TC_ACT_SHOT;
}

SEC("tc")
int ovn_vif(struct __sk_buff *skb)
{
	struct scratch *s = enter();

	if (!s)
		return too_deep(skb);
	return call_run(skb, s, from_vif(skb, s));
}

SEC("tc")
int ovn_underlay(struct __sk_buff *skb)
{
	struct scratch *s = enter();
	int err;

	if (!s)
		return TC_ACT_UNSPEC; /* nested: a frame of our own sending */
	err = decap(skb, s);
	if (err < 0)
		return leave(s, TC_ACT_UNSPEC);
	if (!err)
		err = from_tunnel(skb, s);
	return call_run(skb, s, err);
}

SEC("tc")
int ovn_tunnel(struct __sk_buff *skb)
{
	struct scratch *s = enter();
	int err;

	if (!s)
		return too_deep(skb);
	err = netdev_decap(skb, s);
	if (!err)
		err = from_tunnel(skb, s);
	return call_run(skb, s, err);
}

/* Made by the slow path, for a port or group: with MLF_LOCAL_ONLY as it would come
 * from another chassis (OVN's LOCAL_OUTPUT), else as by `output`. */
static __always_inline int made_for_outport(struct scratch *s)
{
	const __u32 *w = s->cur.w;

	if (!(w[OW_FLAGS] & MLF_LOCAL_ONLY)) {
		push(s, FR_OUTPUT, 0, 0, 0, 0);
		return 0;
	}
	if (w[OW_OUTPORT] >= OVN_MIN_MCGROUP)
		return output_group(s, 1);
	return output_local(s, w[OW_DP], w[OW_OUTPORT]);
}

/* Back from the slow path, or made by it: the frame is new, the rest is as it was. */
__noinline int from_slowpath(struct __sk_buff *skb, struct scratch *s)
{
	const struct ovn_punt *p = array_at(&ovn_resume_ctl, 0);
	const struct ovn_port *port;
	const struct ovn_insn *in;
	__u32 slot;
	int err;

	if (!s || !p)
		return DROP_BUG;
	err = parse(skb, s);
	if (err)
		return err;
	__builtin_memcpy(s->cur.w, p->w, 4 * OW_HEADERS);
	s->cur.egress = p->egress != 0;
	s->cur.queue = p->queue;
	s->cur.flow = p->flow;
	s->cur.table = p->table;
	s->in_ifindex = 0;
	if (!p->pc && p->table == OVN_PUNT_OUTPUT)
		return made_for_outport(s);
	slot = port_slot(s, s->cur.w[OW_DP], s->cur.w[p->egress ? OW_OUTPORT : OW_INPORT]);
	port = port_at(slot);
	if (!port)
		return DROP_PUNT_STALE;
	s->cur.dp_index = port->dp_index;
	s->cur.out_slot = p->egress ? slot : 0;
	if (!p->pc) {
		push(s, FR_LOOKUP, p->table, 0, 0, 0);
		return 0;
	}
	in = array_at(&ovn_insns, p->pc);
	if (!in || in->op != OP_PUNT || in->a != p->verb || in->b != p->arg || in->c != p->mark)
		return DROP_PUNT_STALE;
	if (in->src & OVN_PUNT_ANSWERS)
		set_bit(s->cur.w, in->dst, in->aux, p->answer);
	push(s, FR_ACTS, s->cur.egress, p->pc + 1, 0, 0);
	return 0;
}

/* Never attached: the slow path runs it on what it sends, with ovn_resume_ctl set. */
SEC("tc")
int ovn_resume(struct __sk_buff *skb)
{
	struct scratch *s = enter();

	if (!s)
		return too_deep(skb);
	s->injected = 1;
	return call_run(skb, s, from_slowpath(skb, s));
}

/* The packet that ovn_trace_ctl describes, as words. */
static __always_inline int from_trace(struct scratch *s)
{
	const struct ovn_trace_ctl *ctl = array_at(&ovn_trace_ctl, 0);
	const struct ovn_port *p;

	if (!ctl)
		return DROP_BUG;
	__builtin_memset(&s->cur, 0, sizeof(s->cur));
	__builtin_memcpy(s->cur.w, ctl->w, sizeof(s->cur.w));
	s->l3 = ETH_LEN;
	s->l4 = 0;
	s->off = 0;
	s->frag = 0;
	s->wire_reply = 0;
	__builtin_memcpy(s->wire, s->cur.w + OW_HEADERS, sizeof(s->wire) - 16);
	if (ctl->remote && s->cur.w[OW_OUTPORT] >= OVN_MIN_MCGROUP)
		return output_group(s, 1);
	if (ctl->remote)
		return output_local(s, s->cur.w[OW_DP], s->cur.w[OW_OUTPORT]);
	p = port_at(port_slot(s, s->cur.w[OW_DP], s->cur.w[OW_INPORT]));
	if (!p)
		return DROP_NO_PORT;
	s->cur.dp_index = p->dp_index;
	load_zones(s, p);
	if (p->flags & OVN_PORT_F_LOCALPORT)
		s->cur.w[OW_FLAGS] |= MLF_LOCALPORT;
	push(s, FR_LOOKUP, 0, 0, 0, 0);
	return 0;
}

/* Never attached: the agent runs it to see where a packet would go. */
SEC("tc")
int ovn_trace(struct __sk_buff *skb)
{
	struct scratch *s = enter();

	if (!s)
		return TC_ACT_SHOT;
	s->trace = 1;
	return call_run(skb, s, from_trace(s));
}

/* Never attached: what the others end in. */
SEC("tc")
int ovn_run(struct __sk_buff *skb)
{
	struct scratch *s = entered();
	int verdict;

	if (!s)
		return TC_ACT_SHOT;
	verdict = run(skb, s);
	if (s->serve.pc) {
		bpf_tail_call_static(skb, &ovn_calls, OVN_CALL_SERVE);
		not_served(s); /* the agent has not loaded it */
		verdict = run(skb, s);
	}
	return leave(s, verdict);
}

/* The verb's answer. */
static __always_inline int serve(struct __sk_buff *skb, struct scratch *s)
{
	const struct ovn_insn *in = array_at(&ovn_insns, s->serve.pc);
	int err = store(skb, s);

	if (err)
		return err;
	switch (in ? in->a : OVN_PUNT_NONE) {
	case OVN_PUNT_DHCP:
		return serve_dhcp(skb, s);
	case OVN_PUNT_RA:
		return serve_ra(skb, s);
	case OVN_PUNT_DNS:
		return serve_dns(skb, s);
	}
	return SERVE_PASS;
}

/* Never attached: what ovn_run ends in for verbs that the agent has answers to. */
SEC("tc")
int ovn_serve(struct __sk_buff *skb)
{
	struct scratch *s = entered();

	if (!s)
		return TC_ACT_SHOT;
	return served(skb, s, serve(skb, s));
}
