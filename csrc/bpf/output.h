/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * OVN's output action and the physical tables around it (ovn-architecture(7),
 * "Architectural Physical Life Cycle of a Packet", tables 37 to 41 and 64, 65):
 * to another chassis, to the members of a group, into the egress pipeline, to a
 * device, across a patch port.
 */
#ifndef OVN_BPF_OUTPUT_H
#define OVN_BPF_OUTPUT_H

#include "drop.h"
#include "encap.h"
#include "ports.h"
#include "store.h"

/* The port that w[OW_OUTPORT] means: of a chassisredirect port that is here the
 * distributed one, as OVN's LOCAL_OUTPUT has it.  NULL: none that is known. */
static __always_inline const struct ovn_port *outport_of(struct scratch *s, __u32 dp, __u32 *slot)
{
	const struct ovn_port *p = NULL;
	__u32 try;

	ROLLED
	for (try = 0; try < 2; try++) {
		*slot = port_slot(s, dp, s->cur.w[OW_OUTPORT]);
		p = port_at(*slot);
		if (!p || p->kind != OVN_PORT_ALIAS)
			break;
		s->cur.w[OW_OUTPORT] = p->peer_port;
	}
	return p;
}

/* Check loopback, forget what the ingress pipeline knew, start the egress one. */
static __always_inline int to_egress(struct scratch *s, __u32 slot, const struct ovn_port *p)
{
	__u32 *w = s->cur.w, i;

	if (w[OW_OUTPORT] == w[OW_INPORT] && !(w[OW_FLAGS] & MLF_ALLOW_LOOPBACK))
		return DROP_LOOPBACK;
	for (i = 0; i < 10; i++)
		w[OW_REG0 + i] = 0;
	s->cur.dp_index = p->dp_index;
	load_zones(s, p);
	s->cur.out_slot = slot;
	s->cur.egress = 1;
	push(s, FR_LOOKUP, OVN_EGRESS_BASE, 0, 0, 0);
	return 0;
}

/*
 * output_local - the local half for one port: OVN's LOCAL_OUTPUT
 *
 * Returns 0 or a drop reason, as output_group() does.
 */
__noinline int output_local(struct scratch *s, __u32 dp, __u32 port)
{
	const struct ovn_port *p;
	__u32 slot;

	if (!s)
		return DROP_BUG;
	s->cur.w[OW_OUTPORT] = port;
	p = outport_of(s, dp, &slot);
	if (!p)
		return DROP_NO_OUTPORT;
	if (p->kind != OVN_PORT_VIF && p->kind != OVN_PORT_PATCH)
		return DROP_NOT_BOUND;
	return to_egress(s, slot, p);
}

/* Put a send aside until the local work is done. */
static __always_inline int defer(struct scratch *s, __u32 first, __u32 n)
{
	__u32 i = s->n_deferred;
	struct deferred *d;

	if (i >= OVN_MAX_DEFERRED)
		return DROP_DEPTH;
	d = &s->deferred[i];
	copy_pkt(&d->pkt, &s->cur);
	d->first = first;
	d->n = n;
	s->n_deferred = i + 1;
	return 0;
}

/*
 * output_group - a copy for each chassis that has members, then each member here
 */
__noinline int output_group(struct scratch *s, int from_tunnel)
{
	const struct ovn_mcgroup *g;
	int saved, err = 0;
	__u32 *w;

	if (!s)
		return DROP_BUG;
	w = s->cur.w;
	g = group_of(s, w[OW_DP], w[OW_OUTPORT]);
	if (!g)
		return from_tunnel ? DROP_TUN_VNI : DROP_NO_OUTPORT;
	if (g->n_remote && !from_tunnel &&
	    !(w[OW_FLAGS] & (MLF_LOCALPORT | MLF_LOCAL_ONLY | MLF_RCV_FROM_RAMP)))
		err = defer(s, g->first + g->n_local, g->n_remote);
	if (!g->n_local)
		return err ?: g->n_remote ? err : DROP_NOT_BOUND;
	saved = ctx_save(s);
	if (saved < 0)
		return DROP_DEPTH;
	push(s, from_tunnel ? FR_GROUP_RX : FR_GROUP, saved, g->first, 0, g->n_local);
	return err;
}

/* A copy of what came from a device for each chassis of another region, which finds
 * out by itself whom it concerns: no outport. */
static __always_inline int flood_remote(struct scratch *s)
{
	__u32 *w = s->cur.w, outport = w[OW_OUTPORT];
	const struct ovn_mcgroup *g = group_of(s, w[OW_DP], OVN_FLOOD_REMOTE);
	int err;

	if (!g || w[OW_FLAGS] & MLF_RX_FROM_TUNNEL)
		return 0;
	w[OW_OUTPORT] = 0;
	err = defer(s, g->first, g->n_remote);
	w[OW_OUTPORT] = outport;
	return err;
}

/* What a chassis of another region floods: an ARP reply or a neighbour
 * advertisement begins the ingress pipeline as if it came by its inport. */
static __always_inline int from_flood(struct scratch *s, __u32 dp)
{
	__u32 *w = s->cur.w, type = w[OW_ETH_TYPE] >> 16;
	const struct ovn_port *p = port_at(port_slot(s, dp, w[OW_INPORT]));
	int arp = type == ETH_P_ARP && (w[OW_TCP_ARP] >> 16 & 0xff) == 2;
	int na = type == ETH_P_IPV6 && w[OW_IP] >> 24 == PROTO_ICMP6 && w[OW_L4_PORTS] >> 16 == 136;

	if (!p || (!arp && !na))
		return DROP_TUN_VNI;
	w[OW_FLAGS] |= MLF_RX_FROM_TUNNEL;
	s->cur.dp_index = p->dp_index;
	load_zones(s, p);
	push(s, FR_LOOKUP, 0, 0, 0, 0);
	return 0;
}

/* output in an ingress pipeline: by where the outport lives. */
static __always_inline int output_ingress(struct __sk_buff *skb, struct scratch *s)
{
	__u32 *w = s->cur.w, slot;
	const struct ovn_port *p;

	if (w[OW_OUTPORT] >= OVN_MIN_MCGROUP)
		return output_group(s, 0);
	p = outport_of(s, w[OW_DP], &slot);
	if (!p)
		return DROP_NO_OUTPORT;
	if (p->kind == OVN_PORT_REMOTE) {
		if (w[OW_FLAGS] & (MLF_LOCALPORT | MLF_LOCAL_ONLY | MLF_RCV_FROM_RAMP))
			return DROP_LOCALPORT;
		if (last_use(s) || s->trace)
			return send_remote(skb, s, p->chassis, 1);
		return defer(s, p->chassis, 0);
	}
	if (p->kind != OVN_PORT_VIF && p->kind != OVN_PORT_PATCH)
		return DROP_NOT_BOUND;
	return to_egress(s, slot, p);
}

/* Cross a patch port: nothing but the packet goes along (census section 7). */
static __always_inline int cross_patch(struct scratch *s, const struct ovn_port *p)
{
	__u32 slot = port_slot(s, p->peer_dp, p->peer_port), dp = p->peer_dp, i;
	const struct ovn_port *peer = port_at(slot);
	__u32 port = p->peer_port;

	if (!peer)
		return DROP_NO_OUTPORT;
	for (i = OW_REG0; i < OW_PKT_MARK; i++)
		s->cur.w[i] = 0;
	s->cur.w[OW_RESULT] = 0;
	s->cur.w[OW_DP] = dp;
	s->cur.w[OW_INPORT] = port;
	s->cur.ct.state = 0;
	s->cur.dp_index = peer->dp_index;
	load_zones(s, peer);
	s->cur.out_slot = 0;
	s->cur.egress = 0;
	push(s, FR_LOOKUP, 0, 0, 0, 0);
	return 0;
}

/* output in an egress pipeline: out of a device, or on to the next datapath. */
static __always_inline int output_egress(struct __sk_buff *skb, struct scratch *s)
{
	const struct ovn_port *p = port_at(s->cur.out_slot);
	__u32 slot;
	int err;

	/* A flow may have gone on in this pipeline by itself, or changed outport. */
	if (!p || p->key.port != s->cur.w[OW_OUTPORT]) {
		p = outport_of(s, s->cur.w[OW_DP], &slot);
		if (!p)
			return DROP_NO_OUTPORT;
		if (p->kind != OVN_PORT_VIF && p->kind != OVN_PORT_PATCH)
			return DROP_NOT_BOUND;
	}
	if (p->kind == OVN_PORT_PATCH) {
		err = cross_patch(s, p);
		if (s->trace && !err)
			trace_event(s, TRACE_PATCH, s->cur.w[OW_INPORT], 0);
		return err;
	}
	if (p->flags & OVN_PORT_F_ASLEEP)
		return DROP_ASLEEP;
	if (p->flags & OVN_PORT_F_NESTED)
		s->cur.w[OW_ETH_TYPE] =
			(s->cur.w[OW_ETH_TYPE] & 0xffff0000) | VLAN_PRESENT | (p->vlan & 0xfff);
	if (s->trace)
		return trace_event(s, TRACE_DEVICE, p->key.port, 0);
	err = store(skb, s);
	if (err)
		return err;
	if (s->watched)
		witness(skb, s, OVN_SEEN_OUT, p->key.port);
	if (last_use(s)) {
		s->verdict = bpf_redirect(p->ifindex, 0);
		return 0;
	}
	return bpf_clone_redirect(skb, p->ifindex, 0) ? DROP_REDIRECT : 0;
}

/*
 * output - OVN's output action
 *
 * Returns 0 or a drop reason.
 */
__noinline int output(struct __sk_buff *skb, struct scratch *s)
{

	if (!s)
		return DROP_BUG;
	return s->cur.egress ? output_egress(skb, s) : output_ingress(skb, s);
}

/* The next member of a group gets a copy of the context. */
static __always_inline int output_member(struct scratch *s, const struct frame *f)
{
	const __u32 *port = array_at(&ovn_members, f->pc + f->i);
	const struct ovn_port *p;

	ctx_load(s, f->table);
	s->n_saved = f->table + 1; /* what the member before put aside is done */
	if (f->i + 1 < f->left)
		push(s, f->kind, f->table, f->pc, f->i + 1, f->left);
	if (!port)
		return DROP_BUG;
	if (f->kind == FR_GROUP_RX) {
		/* What every chassis has was served where the packet was sent. */
		p = port_at(port_slot(s, s->cur.w[OW_DP], *port));
		if (p && (p->flags & OVN_PORT_F_LOCALPORT ||
			  (p->kind == OVN_PORT_PATCH && !(p->flags & OVN_PORT_F_GATEWAY))))
			return 0;
	}
	return output_local(s, s->cur.w[OW_DP], *port);
}

/* The next copy of a deferred send. */
static __always_inline int output_deferred(struct __sk_buff *skb, struct scratch *s,
					   const struct frame *f)
{
	struct deferred *d = &s->deferred[f->i & (OVN_MAX_DEFERRED - 1)];
	__u32 chassis = d->first, *member;

	copy_pkt(&s->cur, &d->pkt);
	if (d->n) {
		member = array_at(&ovn_members, d->first + f->pc);
		if (!member)
			return DROP_BUG;
		chassis = *member;
	}
	if (f->pc + 1 < d->n)
		push(s, FR_REMOTE, 0, f->pc + 1, f->i, 0);
	else
		s->remote_done = f->i + 1;
	return send_remote(skb, s, chassis, last_use(s));
}

#endif
