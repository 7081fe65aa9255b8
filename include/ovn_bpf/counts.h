/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Accounting: why packets end, and what the flows and the walks cost.
 */
#ifndef OVN_BPF_COUNTS_LAYOUT_H
#define OVN_BPF_COUNTS_LAYOUT_H

/* Why a packet ended.  Names are shown to operators: keep them in step with
 * ovn_bpf_controller/datapath/reasons.py (a test compares). */
enum ovn_drop {
	DROP_NONE = 0,
	DROP_ACTION,	    /* a logical flow says drop */
	DROP_NO_FLOW,	    /* no flow of the table matches */
	DROP_UNSUPPORTED,   /* the flow that matches has a verb we lack */
	DROP_MALFORMED,	    /* headers shorter or longer than the frame */
	DROP_NO_PORT,	    /* the device is no logical port's */
	DROP_NO_OUTPORT,    /* the logical port is not known here */
	DROP_NOT_BOUND,	    /* the logical port is bound nowhere */
	DROP_LOOPBACK,	    /* outport is inport and loopback is not allowed */
	DROP_TTL,	    /* ip.ttl-- would reach 0 */
	DROP_STEPS,	    /* more steps than OVN_MAX_STEPS */
	DROP_DEPTH,	    /* work stack full */
	DROP_MEMBERS,	    /* multicast group larger than the bound */
	DROP_STORE,	    /* the packet could not be rewritten */
	DROP_REDIRECT,	    /* the kernel refused the output device */
	DROP_TUN_HEADER,    /* Geneve or VXLAN header that we cannot read */
	DROP_TUN_OPTION,    /* OVN's Geneve option missing or wrong */
	DROP_TUN_SENDER,    /* tunnel packet from an unknown address */
	DROP_TUN_VNI,	    /* tunnel packet for an unknown datapath or port */
	DROP_TUN_PEER,	    /* no tunnel to the chassis of the outport */
	DROP_TUN_ENCAP,	    /* encapsulation failed */
	DROP_TUN_NEIGH,	    /* underlay next hop has no known MAC */
	DROP_TOO_BIG,	    /* does not fit the tunnel; sender was told */
	DROP_TOO_BIG_QUIET, /* does not fit, and nobody could be told */
	DROP_REENTRY,	    /* program re-entered deeper than it can */
	DROP_BUG,	    /* a table points nowhere: agent or program wrong */
	DROP_LOCALPORT,	    /* localport traffic that would leave the chassis */
	DROP_NO_REPLY,	    /* a reply that must not or cannot be sent */
	DROP_SETS,	    /* member of more sets than OVN_MAX_SETS */
	DROP_CT_FULL,	    /* no room for a connection, or the zone's limit */
	DROP_CT_NAT,	    /* no free address and port to translate to */
	DROP_CT_FRAG,	    /* later fragment whose first one was not seen */
	DROP_CT_RACE,	    /* another packet committed the tuple just now */
	DROP_NO_BACKEND,    /* a load balancer without backends */
	DROP_NO_SLOWPATH,   /* nobody serves the slow path */
	DROP_PUNT_RATE,	    /* more for the slow path than a source may have */
	DROP_PUNT_FULL,	    /* the slow path is behind */
	DROP_PUNT_BIG,	    /* longer than the slow path takes */
	DROP_PUNT_STALE,    /* came back when its flow had gone */
	DROP_NO_PROGRAM,    /* the program that goes on is not there */
	DROP_METER,	    /* set_meter: above its rate */
	DROP_COPP,	    /* the flow's controller_meter: above its rate */
	DROP_ASLEEP,	    /* the guest has not moved here yet */
	DROP_NO_ROOM,	    /* the flow that matches does not fit its stage */
	DROP_MAX,
};

/* Map `ovn_drops`, per CPU, index enum ovn_drop; `ovn_port_stats` likewise. */
struct ovn_count {
	__u64 packets;
	__u64 bytes;
};

/* Map `ovn_flows`, per CPU: counts of the flows with the numbers n * page + i.
 * Several to an element, as the kernel takes long to make many small ones. */
#define OVN_FLOW_PAGE 64
struct ovn_flow_page {
	struct ovn_count c[OVN_FLOW_PAGE];
};

/* LRU hash `ovn_drop_flows`, per CPU, of struct ovn_count: which packets on
 * their walk ended where. */
struct ovn_drop_key {
	__u32 reason; /* enum ovn_drop */
	__u32 dp;     /* tunnel key */
	__u32 flow;   /* number of the logical flow, 0: none matched */
	__u32 table;  /* 0..127, looked up last */
};

/* Map `ovn_work`, per CPU, one element: what the walks cost. */
struct ovn_work {
	__u64 packets;
	__u64 stages; /* looked up */
	__u64 probes; /* hash look-ups for them */
};

#endif
