import { nginx } from './makes.ts'
import { describeGracefulReload, describeIdleTimeout, describeProxy } from './suite.ts'

describeProxy(nginx)
describeIdleTimeout(nginx)
describeGracefulReload(nginx)
