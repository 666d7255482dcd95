// better-auth behind node:http: makes its tables, then serves on 127.0.0.1 with as many workers as it is told.
// Nobody is mailed: what sendResetPassword would send is in the verification table.

import cluster from 'node:cluster';
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import { betterAuth } from 'better-auth';
import { getMigrations } from 'better-auth/db/migration';
import { toNodeHandler } from 'better-auth/node';
import pg from 'pg';

const { DATABASE_URL, PORT, WORKERS, POOL, AUTH_SECRET } = process.env;

const pool = new pg.Pool({ connectionString: DATABASE_URL, max: Number(POOL), idleTimeoutMillis: 0 });
const options = {
    database: pool,
    baseURL: `http://127.0.0.1:${PORT}`,
    secret: AUTH_SECRET,
    // The settings that its documentation names for speed, and nothing is refused.
    rateLimit: { enabled: false },
    advanced: { database: { joins: true } },
    experimental: { instrumentation: { enabled: false } },
    emailAndPassword: {
        enabled: true,
        sendResetPassword: async () => {},
        // In place of scrypt, whose cost is wanted where a password is set, and would be all that is measured.
        password: {
            hash: async password => createHash('sha256').update(password).digest('hex'),
            verify: async () => false
        }
    }
};

if (cluster.isPrimary) {
    const { runMigrations } = await getMigrations(options);
    await runMigrations();
    await pool.end();
    for (let number = 0; number < Number(WORKERS); number++) {
        cluster.fork();
    }
    cluster.on('exit', () => process.exit(1));
    process.on('SIGTERM', () => process.exit(0));
} else {
    const server = createServer(toNodeHandler(betterAuth(options)));
    server.keepAliveTimeout = 30_000;
    server.listen(Number(PORT), '127.0.0.1');
    process.on('disconnect', () => process.exit(0));
}
