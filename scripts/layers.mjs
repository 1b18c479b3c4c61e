// The layers, as data: what each package may depend on. docs/architecture.md explains the picture; adding a package
// to the repository starts with a line here and a `tags` line in its turbo.json.
const drivers = { layer: 4, mayImport: ['core', 'spec', 'memory'] }
const belowApps = (name) => name !== 'conformance'

export const layers = {
  spec: { layer: 0, mayImport: [] },
  native: { layer: 0, mayImport: [], outside: ['koffi'] },
  memory: { layer: 0, mayImport: ['native'] },
  virtqueue: { layer: 1, mayImport: ['spec', 'memory'] },
  pci: { layer: 1, mayImport: ['memory', 'native'] },
  qemu: { layer: 1, mayImport: ['pci', 'memory', 'native'] },
  tap: { layer: 1, mayImport: ['native'] },
  nbd: { layer: 1, mayImport: [] },
  core: { layer: 2, mayImport: ['spec', 'memory', 'virtqueue'] },
  'device-models': { layer: 2, mayImport: ['spec', 'memory', 'pci', 'native'] },
  'transport-pci': { layer: 3, mayImport: ['core', 'spec', 'memory', 'pci'] },
  'transport-vhost-user': { layer: 3, mayImport: ['core', 'spec', 'memory', 'native'] },
  'driver-*': drivers,
  // What the apps have in common; only apps use it.
  'command-line': { layer: 5, mayImport: [] },
  'device-locator': {
    layer: 5,
    mayImport: [
      'command-line',
      'core',
      'device-models',
      'pci',
      'qemu',
      'spec',
      'transport-pci',
      'transport-vhost-user',
    ],
  },
  blkd: { layer: 5, mayImport: belowApps },
  netd: { layer: 5, mayImport: belowApps, outside: ['picocolors'] },
  vcon: { layer: 5, mayImport: belowApps },
  balloond: { layer: 5, mayImport: belowApps },
  conformance: { layer: 9, mayImport: belowApps, outside: ['vitest'] },
}

/** The rule for a package, or undefined when the table has none. */
export function layerOf(name) {
  return layers[name] ?? (name.startsWith('driver-') ? layers['driver-*'] : undefined)
}

/** Whether `name` may depend on the package `dependency` (`@virtio-ts/core`, `koffi`). */
export function mayDepend(name, dependency) {
  const { mayImport, outside = [] } = layerOf(name)
  if (!dependency.startsWith('@virtio-ts/')) return outside.includes(dependency)
  const target = dependency.slice('@virtio-ts/'.length)
  return typeof mayImport === 'function' ? mayImport(target) : mayImport.includes(target)
}
