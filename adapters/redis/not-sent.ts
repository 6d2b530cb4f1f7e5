import { HubError } from 'wshub'

/** The error of a command that Redis did not receive. */
export class NotSent extends HubError {
  constructor(why: string) {
    super('WSHUB_ERR_BACKPLANE', why)
  }
}
