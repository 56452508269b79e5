package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"user-service/platform/postgres"
)

// djangoUser is a row of the original's users, with its preferences.
type djangoUser struct {
	ID            string     `db:"id"`
	Email         string     `db:"email"`
	Password      string     `db:"password"`
	Name          string     `db:"name"`
	PushToken     string     `db:"push_token"`
	EmailVerified bool       `db:"email_verified"`
	IsActive      bool       `db:"is_active"`
	IsStaff       bool       `db:"is_staff"`
	IsSuperuser   bool       `db:"is_superuser"`
	EmailAllowed  bool       `db:"email_allowed"`
	PushAllowed   bool       `db:"push_allowed"`
	CreatedAt     *time.Time `db:"created_at"`
	UpdatedAt     *time.Time `db:"updated_at"`
	OddTime       bool       `db:"odd_time"`
}

// djangoColumn is a value that is wanted, under any name that versions of the original gave it.
type djangoColumn struct {
	table, as string
	names     []string // the first is the one to complain about
	kind      string
	usual     string // what it is where it is null or not there; empty: it must be there
}

var djangoColumns = []djangoColumn{
	{"users", "id", []string{"id"}, "text", ""},
	{"users", "email", []string{"email"}, "text", ""},
	{"users", "password", []string{"password"}, "text", ""},
	{"users", "name", []string{"name", "full_name"}, "text", "''"},
	{"users", "push_token", []string{"push_token"}, "text", "''"},
	{"users", "email_verified", []string{"email_verified", "is_email_verified", "is_verified"}, "boolean", "false"},
	{"users", "is_active", []string{"is_active"}, "boolean", "true"},
	{"users", "is_staff", []string{"is_staff"}, "boolean", "false"},
	{"users", "is_superuser", []string{"is_superuser"}, "boolean", "false"},
	{"users", "created_at", []string{"created_at", "date_joined"}, "timestamptz", "NULL"},
	{"users", "updated_at", []string{"updated_at"}, "timestamptz", "NULL"},
	{"user_preferences", "email_allowed", []string{"email", "email_enabled", "email_notifications", "notification_email", "notify_email"}, "boolean", "true"},
	{"user_preferences", "push_allowed", []string{"push", "push_enabled", "push_notifications", "notification_push", "notify_push"}, "boolean", "true"},
}

// djangoSource reads the users, the oldest first: of two addresses that differ only in case, the
// account that was there first keeps it.
type djangoSource struct {
	snapshot *postgres.Snapshot
	total    int
	lacks    string // columns that are not there
}

func openDjango(ctx context.Context, dsn string) (_ *djangoSource, err error) {
	s := &djangoSource{}
	if s.snapshot, err = postgres.OpenSnapshot(ctx, dsn); err != nil {
		return nil, err
	}
	if err := s.begin(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Close ends the connection.
func (s *djangoSource) Close() { _ = s.snapshot.Close() }

func (s *djangoSource) begin(ctx context.Context) error {
	there := map[string][]string{}
	for _, table := range []string{"users", "user_preferences"} {
		var names []string
		err := s.snapshot.Select(ctx, &names, `
			SELECT attname FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped`, table)
		if err != nil {
			return err
		}
		there[table] = names
	}
	query, lacks, err := djangoQuery(there)
	if err != nil {
		return err
	}
	s.lacks = strings.Join(lacks, ", ")
	if err := s.snapshot.Get(ctx, &s.total, `SELECT count(*) FROM users`); err != nil {
		return err
	}
	return s.snapshot.Exec(ctx, `DECLARE source NO SCROLL CURSOR FOR `+query)
}

// djangoQuery asks for the columns that are there, and names those that are not.
func djangoQuery(there map[string][]string) (query string, lacks []string, err error) {
	if len(there["users"]) == 0 {
		return "", nil, errors.New("there is no table users; is it the database of the Django service?")
	}
	from := ` FROM users`
	if slices.Contains(there["user_preferences"], "user_id") {
		from += ` LEFT JOIN (SELECT DISTINCT ON (user_id) * FROM user_preferences) AS user_preferences
			ON user_preferences.user_id::text = users.id::text`
	} else {
		delete(there, "user_preferences")
	}
	var values []string
	for _, c := range djangoColumns {
		value, found := c.value(there[c.table])
		if !found {
			lacks = append(lacks, c.table+"."+c.names[0])
			if c.usual == "" {
				return "", nil, fmt.Errorf("the table %s has no column %s", c.table, c.names[0])
			}
		}
		values = append(values, value)
	}
	values = append(values, oddTime(there["users"]))
	return `SELECT ` + strings.Join(values, ", ") + from + ` ORDER BY created_at NULLS LAST, id`, lacks, nil
}

// inRange is true for the times that JSON can say; infinity is none of them.
func (c djangoColumn) inRange(name string) string {
	return fmt.Sprintf("%s.%s::timestamptz BETWEEN '0001-01-02' AND '9999-12-30'", c.table, name)
}

// oddTime tells the users of which a time is left out.
func oddTime(there []string) string {
	odd := []string{"false"}
	for _, c := range djangoColumns {
		for _, name := range c.names {
			if c.kind == "timestamptz" && slices.Contains(there, name) {
				odd = append(odd, "NOT "+c.inRange(name))
			}
		}
	}
	return "coalesce(" + strings.Join(odd, " OR ") + ", false) AS odd_time"
}

// value is the expression for the column in a table that has these.
func (c djangoColumn) value(there []string) (sql string, found bool) {
	usual := c.usual
	if usual == "" {
		usual = "''"
	}
	for _, name := range c.names {
		if slices.Contains(there, name) && c.kind == "timestamptz" {
			return fmt.Sprintf("CASE WHEN %s THEN %s.%s::timestamptz END AS %s", c.inRange(name), c.table, name, c.as), true
		}
		if slices.Contains(there, name) {
			return fmt.Sprintf("coalesce(%s.%s::%s, %s) AS %s", c.table, name, c.kind, usual, c.as), true
		}
	}
	return fmt.Sprintf("%s::%s AS %s", usual, c.kind, c.as), false
}

// next gives the next users; none when all were read.
func (s *djangoSource) next(ctx context.Context, most int) (users []djangoUser, err error) {
	err = s.snapshot.Select(ctx, &users, fmt.Sprintf(`FETCH %d FROM source`, most))
	return users, err
}
