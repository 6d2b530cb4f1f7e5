import {
  type CloseOptions,
  type Hub,
  HubError,
  type HubOptions,
  type Message,
  type Metadata,
  type Payload,
} from 'wshub'
import { checkFunctions, show } from '../arguments.ts'
import type { UpgradeOption } from './gateway-upgrade.ts'
import type { GatewayMessage } from './message-format.ts'

/** The options of an adapter besides those of its hub. An explicit `undefined` means the default. */
export interface HubAdapterSettings<Meta extends object = Metadata> {
  /** Runs before the 101 for gateways that have no `upgrade` of their own. Default none. */
  readonly upgrade?: UpgradeOption<Meta>
  /**
   * Reads a message of a client; one that it throws at, or returns `undefined` for, is ignored. Default
   * JSON.
   */
  readonly parse?: ((message: Message) => GatewayMessage | undefined) | undefined
  /** Writes an answer: a string for a text message, bytes for a binary one. Default JSON. */
  readonly format?: ((answer: unknown) => Payload) | undefined
  /**
   * The most messages of one client whose handlers run at a time, 1 or more. At the limit its next messages
   * wait, and it is not read. Default 100.
   */
  readonly maxPendingMessages?: number | undefined
  /**
   * The most observables of one client that are subscribed to at a time, 1 or more. Above the limit a message
   * is answered with the event `exception`. Default 100.
   */
  readonly maxStreams?: number | undefined
}

/**
 * Options of a new hub, which `close` says how to close with the application, or `{ hub }` for an existing
 * one; and the settings of the adapter.
 */
export type HubAdapterOptions<Meta extends object = Metadata> = HubAdapterSettings<Meta> &
  (
    | (HubOptions<Meta> & { readonly hub?: undefined; readonly close?: CloseOptions | undefined })
    | { readonly hub: Hub<Meta>; readonly close?: undefined }
  )

/** The limits of one client. */
export interface ClientLimits {
  readonly maxPendingMessages: number
  readonly maxStreams: number
}

/** Checks the settings. @throws {HubError} WSHUB_ERR_INVALID_OPTION */
export function readClientLimits<Meta extends object>(settings: HubAdapterSettings<Meta>): ClientLimits {
  const { upgrade, parse, format, maxPendingMessages = 100, maxStreams = 100 } = settings
  checkFunctions({ upgrade, parse, format })
  const limits = { maxPendingMessages, maxStreams }
  for (const [key, value] of Object.entries(limits)) {
    if (Number.isSafeInteger(value) && value >= 1) continue
    throw new HubError('WSHUB_ERR_INVALID_OPTION', `${key} is an integer of 1 or more, not ${show(value)}`)
  }
  return limits
}
