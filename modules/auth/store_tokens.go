package auth

import (
	"context"
	"time"
)

// issueToken makes hash the account's only token of this purpose. It reports false when a mail was
// sent too lately, or too many were sent in a day. The account must be locked.
func (s store) issueToken(ctx context.Context, accountID string, of purpose, hash []byte, lifetime time.Duration) (issued bool, err error) {
	n, err := s.db.Exec(ctx, `
		INSERT INTO auth.one_time_tokens AS t (account_id, purpose, hash, expires_at, sent_at, counting_since)
		VALUES ($1, $2, $3, now() + make_interval(secs => $4), now(), now())
		ON CONFLICT (account_id, purpose) DO UPDATE SET
			hash = excluded.hash, expires_at = excluded.expires_at, sent_at = now(),
			sent = CASE WHEN t.counting_since > now() - interval '1 day' THEN t.sent + 1 ELSE 1 END,
			counting_since = CASE WHEN t.counting_since > now() - interval '1 day' THEN t.counting_since ELSE now() END
		WHERE t.sent_at <= now() - make_interval(secs => $5)
		  AND (t.sent < $6 OR t.counting_since <= now() - interval '1 day')`,
		accountID, of, hash, lifetime.Seconds(), mailPause.Seconds(), mailsPerDay)
	return n == 1, err
}

// byToken is the account whose token has this hash and is good for purpose now.
func (s store) byToken(ctx context.Context, hash []byte, of purpose) (account, error) {
	var a account
	err := s.db.Get(ctx, &a, `
		SELECT `+accountColumns+` FROM auth.accounts WHERE is_active AND id = (
			SELECT account_id FROM auth.one_time_tokens WHERE hash = $1 AND purpose = $2 AND expires_at > now())`, hash, of)
	return a, err
}

// useToken reports false when another was faster, or the token is not good any more.
func (s store) useToken(ctx context.Context, hash []byte, of purpose) (used bool, err error) {
	n, err := s.db.Exec(ctx, `
		UPDATE auth.one_time_tokens SET hash = NULL WHERE hash = $1 AND purpose = $2 AND expires_at > now()`, hash, of)
	return n == 1, err
}

func (s store) voidTokens(ctx context.Context, accountID string) error {
	_, err := s.db.Exec(ctx, `UPDATE auth.one_time_tokens SET hash = NULL WHERE account_id = $1`, accountID)
	return err
}

func (s store) voidToken(ctx context.Context, accountID string, of purpose) error {
	_, err := s.db.Exec(ctx, `UPDATE auth.one_time_tokens SET hash = NULL WHERE account_id = $1 AND purpose = $2`, accountID, of)
	return err
}
