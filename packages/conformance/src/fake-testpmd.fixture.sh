#!/bin/sh
# Talks like testpmd as far as the tests of Testpmd go: a prompt, an echo of each command, its answer, the next prompt.
case "$*" in
*--vdev=bad*) echo 'EAL: failed to parse device "bad"' >&2; exit 1 ;;
*--vdev=silent*) exec sleep 60 ;;
esac
printf 'Interactive-mode selected\n'
while printf 'testpmd> ' && read -r line; do
  printf '%s\r\n' "$line"
  case "$line" in
  quit) echo 'Bye...'; exit 0 ;;
  die) echo 'PANIC in main()' >&2; kill -ABRT $$ ;;
  stuck) exec sleep 60 ;;
  noise) n=0; while [ $n -lt 2000 ]; do echo "VHOST_CONFIG: line $n of what it has to say about its peers"; n=$((n + 1)); done ;;
  'show port stats 0')
    printf '\n  ######################## NIC statistics for port 0  ########################\n'
    printf '  RX-packets: 10         RX-missed: 1          RX-bytes:  640\n  RX-errors: 2\n  RX-nombuf:  3         \n'
    printf '  TX-packets: 20         TX-errors: 4          TX-bytes:  1280\n\n' ;;
  'show port stats 7') echo 'Invalid port 7' ;;
  start*) echo "io packet forwarding - ports=1 ($line)" ;;
  stop) echo 'Telling cores to stop...'; echo 'Done.' ;;
  esac
done
