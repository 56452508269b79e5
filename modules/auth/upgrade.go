package auth

import "context"

// upgrade hashes a password anew, as we do it today, after it matched a hash that is weaker or was
// made by Django, and gives the hash by which the password holds now. It never fails a login: the next
// one tries again.
func (m *Module) upgrade(ctx context.Context, a account, password string) string {
	if !outdated(a.Password, m.passwords.cost) {
		return a.Password
	}
	upgraded, err := m.rehash(ctx, a, password)
	if err != nil {
		m.log.WarnContext(ctx, "password hash not upgraded", "user_id", a.ID, "error", err)
		return a.Password
	}
	return upgraded
}

func (m *Module) rehash(ctx context.Context, a account, password string) (string, error) {
	hash, err := m.passwords.hash(ctx, password)
	if err != nil {
		return "", err
	}
	replaced, err := m.store.upgradePassword(ctx, a.ID, a.Password, hash)
	if err != nil || replaced {
		return hash, err
	}
	// Another login was faster, or the password is another one by now.
	now, err := m.store.byID(ctx, a.ID)
	if err != nil {
		return "", err
	}
	match, err := m.passwords.matches(ctx, password, now.Password)
	if err != nil || !match {
		return "", err
	}
	return now.Password, nil
}
