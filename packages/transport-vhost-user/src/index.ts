/**
 * Virtio over vhost-user: the front-end, which has the driver, on a Unix socket.
 * @packageDocumentation
 */
export { type ConnectOptions, VhostUserEndpoint, type VhostUserOptions } from './vhost-user-endpoint.ts'
export { VhostUserTransport } from './vhost-user-transport.ts'
