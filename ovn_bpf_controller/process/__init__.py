# SPDX-License-Identifier: Apache-2.0
"""What makes the agent a daemon: options, log, pidfile, control socket, main loop.

Knows nothing of OVN; cli.controller wires it to the agent, which talks back through
unixctl.Commands and main_loop.AgentProtocol.
"""
