import type { Backplane, HistoryStore } from 'wshub'
import { JetStreamHistory } from './jetstream-history.ts'
import type { JetStreamHistoryOptions } from './jetstream-options.ts'
import { NatsBackplane, type NatsBackplaneOptions } from './nats-backplane.ts'

export type { JetStreamHistoryOptions } from './jetstream-options.ts'
export type { NatsBackplaneOptions, NatsPlace } from './nats-backplane.ts'

/**
 * Returns a backplane over NATS. Each channel is a subject, and the servers route a message to its
 * subscribers.
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION
 */
export function natsBackplane(options: NatsBackplaneOptions = {}): Backplane {
  return new NatsBackplane(options)
}

/**
 * Returns a history of rooms in a stream of JetStream, on nats-server 2.9 or later. The stream is created
 * when it does not exist. Its limits hold for all rooms; a room may have lower ones.
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION
 */
export function jetstreamHistory(options: JetStreamHistoryOptions = {}): HistoryStore {
  return new JetStreamHistory(options)
}
