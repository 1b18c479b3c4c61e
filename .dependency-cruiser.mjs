// Layer check 4 of 4: what a module reaches, also through others. Written out by hand rather than derived from
// scripts/layers.mjs, so that a mistake in one of the two shows. Cycles are check-cycles.mjs' job: the swc parser does not
// tell imports of types from others, and interfaces may name each other.
import { builtinModules } from 'node:module'

const tests = '\\.(test|bench|fixture)(-d)?\\.ts$|/testing/'
const nodeModules = `^(node:|(${builtinModules.filter((name) => !name.startsWith('_')).join('|')})$)`
const koffi = '(^|/)koffi(/|$)'

/** The bare layers: they run where there is no koffi and no Node, in a browser page for instance. */
const pure = '^packages/(spec|virtqueue|core|driver-[a-z]+)/src|^packages/memory/src/(index|dma)\\.ts$'

/** The one bare package that may have a module of Node. */
const streams = '^packages/driver-console/src'

export default {
  forbidden: [
    { name: 'resolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
    {
      name: 'one-importer-of-koffi',
      severity: 'error',
      from: { pathNot: '^packages/native/src' },
      to: { path: koffi },
    },
    { name: 'pure-without-koffi', severity: 'error', from: { path: pure }, to: { path: koffi, reachable: true } },
    {
      name: 'pure-without-node',
      severity: 'error',
      from: { path: pure, pathNot: streams },
      to: { path: nodeModules, reachable: true },
    },
    {
      name: 'console-with-streams-alone',
      comment: "Its ports are Node's streams: docs/decisions/0008.",
      severity: 'error',
      from: { path: streams },
      to: { path: nodeModules, pathNot: '^(node:)?stream$', reachable: true },
    },
    {
      name: 'device-models-share-no-ring-code',
      comment: 'A misreading shared by driver and device would cancel out.',
      severity: 'error',
      from: { path: '^packages/device-models/src' },
      to: { path: '^packages/(virtqueue|core)/', reachable: true },
    },
    {
      name: 'drivers-know-no-bus',
      severity: 'error',
      from: { path: '^packages/driver-[a-z]+/src' },
      to: { path: '^packages/(transport-|pci/|native/|qemu/|tap/|device-models/|conformance/)', reachable: true },
    },
    {
      name: 'drivers-know-no-other-driver',
      severity: 'error',
      from: { path: '^packages/(driver-[a-z]+)/src' },
      to: { path: '^packages/driver-', pathNot: '^packages/$1/', reachable: true },
    },
    {
      name: 'transports-know-no-driver',
      severity: 'error',
      from: { path: '^packages/(transport-[a-z-]+)/src' },
      to: {
        path: '^packages/(driver-|transport-|device-models/|conformance/)',
        pathNot: '^packages/$1/',
        reachable: true,
      },
    },
    {
      name: 'core-knows-no-transport',
      severity: 'error',
      from: { path: '^packages/(core|virtqueue|spec|memory)/src' },
      to: { path: '^packages/(transport-|driver-|pci/|device-models/|qemu/|tap/|conformance/)', reachable: true },
    },
    {
      name: 'packages-know-no-app',
      severity: 'error',
      from: { path: '^packages/' },
      to: { path: '^apps/' },
    },
    {
      name: 'sources-import-no-test',
      severity: 'error',
      from: { pathNot: tests },
      to: { path: tests },
    },
  ],
  options: {
    parser: 'swc',
    tsPreCompilationDeps: true,
    exclude: { path: tests },
    doNotFollow: { path: 'node_modules' },
    // Workspace packages resolve to their sources, as in the compiler and in the tests.
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['@virtio-ts/source', 'import', 'node', 'types', 'default'],
      extensions: ['.ts', '.mjs', '.js', '.json'],
    },
  },
}
