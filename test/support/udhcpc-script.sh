#!/bin/sh
# What a DHCP client runs: takes the lease into the interface of its own namespace and touches nothing else.
case "$1" in
  bound | renew)
    ip addr replace "$ip/${mask:-24}" dev "$interface"
    for gateway in $router; do ip route replace default via "$gateway" dev "$interface"; done
    echo "lease $ip"
    ;;
esac
