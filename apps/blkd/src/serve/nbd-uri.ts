/** The address of an export on a Unix socket, as nbdinfo, nbdcopy and qemu-img take it. */
export function nbdUri(path: string, name: string): string {
  return `nbd+unix:///${encodeURIComponent(name)}?socket=${encodeURIComponent(path).replaceAll('%2F', '/')}`
}
